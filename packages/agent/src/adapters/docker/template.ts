import { TaskRejectedError } from '../../ports/engine.errors.ts'

/** What Swarm's placeholders may name (docs: "docker service create", templates; swarmkit template/context.go). */
export interface TemplateContext {
  readonly Service: {
    readonly ID: string
    readonly Name: string
    readonly Labels: Readonly<Record<string, string>>
  }
  readonly Node: {
    readonly ID: string
    readonly Hostname: string
    readonly Platform: { readonly Architecture: string; readonly OS: string }
  }
  readonly Task: { readonly ID: string; readonly Name: string; readonly Slot: string }
}

/**
 * Expands the placeholders of Go's text/template that a Swarm spec can use with sense: fields
 * (`{{.Node.Hostname}}`, `{{.Service.Labels.tier}}`), `{{index .Service.Labels "a.b"}}` and string literals
 * (`{{"{{"}}`), with Go's trim markers. Anything else is refused by a `TaskRejectedError` that names it.
 *
 * `expandTemplate('{{.Task.Slot}}-{{.Service.Name}}', context, 'Hostname')` → `'3-web'`
 */
export function expandTemplate(text: string, context: TemplateContext, where: string): string {
  let result = ''
  let rest = text
  while (true) {
    const open = rest.indexOf('{{')
    if (open < 0) return result + rest
    result += rest.slice(0, open)
    const action = /^\{\{(- )?((?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^"`}]|\}(?!\}))*?)( -)?\}\}/s.exec(
      rest.slice(open),
    )
    if (action === null) throw refusal(where, rest.slice(open), 'it is not closed by }}')
    const [whole, trimBefore, expression = '', trimAfter] = action
    if (trimBefore !== undefined) result = result.trimEnd()
    result += evaluate(expression.trim(), context, where)
    rest = rest.slice(open + whole.length)
    if (trimAfter !== undefined) rest = rest.trimStart()
  }
}

function evaluate(expression: string, context: TemplateContext, where: string): string {
  if (/^\/\*.*\*\/$/s.test(expression)) return ''
  const literal = /^(?:"(?:[^"\\]|\\.)*"|`[^`]*`)$/.test(expression)
  if (literal) return unquote(expression, where)
  const index = /^index\s+(\.[\w.]+)\s+("(?:[^"\\]|\\.)*"|`[^`]*`)$/.exec(expression)
  if (index !== null) {
    const [, path = '', key = ''] = index
    const map = resolve(path, context, where, expression)
    if (map !== context.Service.Labels) throw refusal(where, expression, `${path} is no map`)
    // Go's index gives the zero value for a key that is not there.
    return context.Service.Labels[unquote(key, where)] ?? ''
  }
  if (!/^(?:\.\w+)+$/.test(expression)) {
    throw refusal(where, expression, 'only .Service, .Node and .Task fields and `index` are known')
  }
  const value = resolve(expression, context, where, expression)
  if (typeof value !== 'string') throw refusal(where, expression, 'it is not a single value')
  return value
}

function resolve(path: string, context: TemplateContext, where: string, expression: string): unknown {
  let value: unknown = context
  for (const name of path.slice(1).split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) {
      const because =
        value === context.Service.Labels
          ? `the service has no label "${name}"`
          : `there is no field "${name}" (known: ${typeof value === 'object' && value !== null ? Object.keys(value).join(', ') : 'none'})`
      throw refusal(where, expression, because)
    }
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function unquote(literal: string, where: string): string {
  if (literal.startsWith('`')) return literal.slice(1, -1)
  try {
    return JSON.parse(literal) as string
  } catch (error) {
    throw refusal(where, literal, (error as Error).message)
  }
}

function refusal(where: string, expression: string, because: string): TaskRejectedError {
  const shown = expression.length > 80 ? `${expression.slice(0, 80)}…` : expression
  return new TaskRejectedError(`invalid template in ${where}: "${shown}": ${because}`)
}
