/** The version that `moot --version` prints. */
export const version = '0.1.0'
