import * as z from 'zod/mini'
import type { Arm, ArmAnswer, DisarmAnswer, Watched } from '../../core/lease/watch.ts'
import type { SlotKey } from '../../core/lease/messages.ts'

/**
 * One JSON object a line, over a unix socket that only root can open. Answers carry the question's id. An agent may meet
 * the watchdog of an older or a newer one: fields are only ever added, and unknown ones are passed over.
 */

/** Two levels at least: never the root, and never a whole system's slice. No `.` or `..`. */
const cgroupPattern = /^(\/(?!\.{1,2}(\/|$))[\w.:@\\-]{1,255}){2,8}$/

const slot = z.pipe(
  z.string().check(z.minLength(1), z.maxLength(256)),
  z.transform((text): SlotKey => text as SlotKey),
)
const whole = z.int().check(z.nonnegative())
const id = z.int().check(z.nonnegative())
const arm = {
  slot,
  fence: whole,
  cgroup: z.string().check(z.regex(cgroupPattern)),
  deadlineMs: z.number().check(z.nonnegative()),
}

const question = z.discriminatedUnion('ask', [
  z.object({ ask: z.literal('arm'), id, ...arm }),
  z.object({ ask: z.literal('disarm'), id, slot, fence: whole }),
  z.object({ ask: z.literal('list'), id }),
  z.object({ ask: z.literal('ping'), id }),
])

const watched = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('armed'), ...arm }),
  z.object({
    kind: z.literal('over'),
    ...arm,
    killedAtMs: z.number(),
    goneAtMs: z.pipe(
      z.nullable(z.number()),
      z.transform((ms) => ms ?? undefined),
    ),
  }),
])

const reply = z.discriminatedUnion('kind', [
  z.object({ id, kind: z.literal('armed'), deadlineMs: z.number() }),
  z.object({ id, kind: z.literal('over') }),
  z.object({ id, kind: z.literal('older'), fence: whole }),
  z.object({ id, kind: z.literal('occupied') }),
  z.object({ id, kind: z.literal('refused'), why: z.string() }),
  z.object({ id, kind: z.literal('disarmed') }),
  z.object({ id, kind: z.literal('list'), all: z.array(watched) }),
  z.object({ id, kind: z.literal('pong'), pid: whole }),
  /** It is not in force. */
  z.object({ id, kind: z.literal('failed'), why: z.string() }),
])

const state = z.object({ bootId: z.string(), all: z.array(watched) })

export type Question =
  | ({ readonly ask: 'arm' } & Arm)
  | { readonly ask: 'disarm'; readonly slot: SlotKey; readonly fence: number }
  | { readonly ask: 'list' }
  | { readonly ask: 'ping' }

export type Reply =
  | ArmAnswer
  | DisarmAnswer
  | { readonly kind: 'list'; readonly all: readonly Watched[] }
  | { readonly kind: 'pong'; readonly pid: number }
  | { readonly kind: 'failed'; readonly why: string }

export interface WatchdogState {
  /** Deadlines of another boot mean nothing, and what ran then is gone. */
  readonly bootId: string
  readonly all: readonly Watched[]
}

/** What the watchdog would take for no question at all. */
export function isQuestion(asked: Question): boolean {
  return question.safeParse({ ...asked, id: 0 }).success
}

/** Each throws for what it cannot read. */
export function readQuestion(line: string): Question & { readonly id: number } {
  return question.parse(JSON.parse(line))
}

export function readReply(line: string): Reply & { readonly id: number } {
  return reply.parse(JSON.parse(line))
}

export function readState(text: string): WatchdogState {
  return state.parse(JSON.parse(text))
}

export function writeReply(id: number, answer: Reply): string {
  return line({ ...answer, ...(answer.kind === 'list' ? { all: answer.all.map(plain) } : {}), id })
}

export function writeQuestion(id: number, asked: Question): string {
  return line({ ...asked, id })
}

export function writeState({ bootId, all }: WatchdogState): string {
  return line({ bootId, all: all.map(plain) })
}

/** JSON has no undefined. */
function plain(watched: Watched): object {
  return watched.kind === 'over' ? { ...watched, goneAtMs: watched.goneAtMs ?? null } : watched
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`
}
