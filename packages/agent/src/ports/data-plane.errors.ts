/** Why a data plane could not make the kernel so: one class per cause. */
export abstract class DataPlaneError extends Error {
  abstract readonly code: string
}

export class ProgramMissingError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_PROGRAM_MISSING'
  override name = 'ProgramMissingError'
  constructor(program: string, cause: unknown) {
    super(
      `the program "${program}" is not on this host's PATH: install it (Debian: nftables, iproute2, conntrack, wireguard-tools)`,
      { cause },
    )
  }
}

/** The kernel, or the program that speaks to it, said no: `words` are its own. */
export class KernelRefusedError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_REFUSED'
  override name = 'KernelRefusedError'
  readonly words: string
  constructor(program: string, what: string, words: string) {
    super(
      `${program} could not ${what}: ${words}. What balanced before does so still; it is tried again by itself`,
    )
    this.words = words
  }
}

export class KernelSilentError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_TIMEOUT'
  override name = 'KernelSilentError'
  constructor(program: string, what: string, afterMs: number) {
    super(
      `${program} did not ${what} within ${afterMs} ms: this host is overloaded, or another program holds the kernel's network lock`,
    )
  }
}

/** A program's answer that cannot be read, such as one of another version. */
export class KernelAnswerError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_ANSWER'
  override name = 'KernelAnswerError'
  constructor(program: string, what: string, cause: unknown) {
    super(`${program} answered what cannot be read when asked to ${what}: is its version newer than 2018?`, {
      cause,
    })
  }
}

export class UnderlayMissingError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_UNDERLAY'
  override name = 'UnderlayMissingError'
  constructor(address: string) {
    super(
      `this host has no address ${address}, which others know it by: tunnels cannot end here. Start the agent with --advertise set to an address of this host`,
    )
  }
}

export class KernelSettingError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_SETTING'
  override name = 'KernelSettingError'
  constructor(path: string, value: string, cause: unknown) {
    super(
      `${path} could not be set to ${value}: ${cause instanceof Error ? cause.message : String(cause)}. In a container, /proc/sys must be mounted writable`,
      { cause },
    )
  }
}

/** What a plane names cannot be handed to the kernel: a defect of whoever made the plane. */
export class UnfitPlaneError extends DataPlaneError {
  readonly code = 'ERR_DATA_PLANE_UNFIT'
  override name = 'UnfitPlaneError'
  constructor(what: string, value: string) {
    super(`${JSON.stringify(value)} is no ${what}: nothing was changed. Please report this`)
  }
}
