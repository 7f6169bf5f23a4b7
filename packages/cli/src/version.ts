import packageJson from '../package.json' with { type: 'json' }

/** The version that `moot --version` prints. */
export const version: string = packageJson.version
