/** What every process that outlives the agent is asked. */
export type CommonQuestion =
  | { readonly ask: 'hello' }
  /** Another takes its place: it lets go of ports and directory, and ends. */
  | { readonly ask: 'retire' }
  /** It ends, and forgets. */
  | { readonly ask: 'end' }

/** Who answers. `port`: where it answers others, if it is one port. */
export interface Hello {
  readonly kind: 'hello'
  readonly pid: number
  readonly program: string
  readonly port?: number | undefined
}

export type CommonReply =
  Hello | { readonly kind: 'gone' } | { readonly kind: 'failed'; readonly why: string }

/** How questions and replies look on the way. Each throws for what it cannot read. */
export interface Wire<Question, Reply> {
  readQuestion(text: string): (Question | CommonQuestion) & { readonly id: number }
  readReply(text: string): (Reply | CommonReply) & { readonly id: number }
  writeQuestion(id: number, question: Question | CommonQuestion): Buffer
  writeReply(id: number, reply: Reply | CommonReply): Buffer
}
