import packageJson from '../package.json' with { type: 'json' }

/** The version of this agent, as `moot --version` and `docker info` show it. */
export const agentVersion: string = packageJson.version
