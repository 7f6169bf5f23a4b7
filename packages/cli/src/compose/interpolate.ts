import { ComposeError } from './values.ts'

const pattern = /\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|(.?))/g

/**
 * Replaces `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?error}`, `${VAR?error}`, `${VAR:+other}`
 * and `$$` in every text below `value` (docs.docker.com/reference/compose-file/interpolation).
 */
export function interpolate(
  value: unknown,
  environment: Readonly<Record<string, string | undefined>>,
  path = '',
): unknown {
  if (typeof value === 'string') return interpolateText(value, environment, path)
  if (Array.isArray(value))
    return value.map((each, index) => interpolate(each, environment, `${path}[${index}]`))
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [
        key,
        interpolate(each, environment, path === '' ? key : `${path}.${key}`),
      ]),
    )
  }
  return value
}

function interpolateText(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
  path: string,
): string {
  return text.replaceAll(
    pattern,
    (
      whole: string,
      dollar: string | undefined,
      braced: string | undefined,
      operator: string | undefined,
      operand: string | undefined,
      bare: string | undefined,
    ) => {
      if (dollar !== undefined) return '$'
      const name = braced ?? bare
      if (name === undefined) {
        throw new ComposeError(`${path}: "${whole}" is no variable: write $$ for a dollar sign`)
      }
      const value = environment[name]
      const missing = value === undefined || (operator?.startsWith(':') === true && value === '')
      switch (operator?.at(-1)) {
        case '-':
          return missing ? (operand ?? '') : value
        case '+':
          return missing ? '' : (operand ?? '')
        case '?':
          if (missing)
            throw new ComposeError(
              `${path}: the variable ${name} is required: ${operand || 'it has no value'}`,
            )
          return value
        default:
          return value ?? ''
      }
    },
  )
}
