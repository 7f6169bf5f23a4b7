import type { ContainerSpec } from '@moot/crdt-state'
import { TaskRejectedError } from '../../ports/engine.errors.ts'

/** Swarm's Privileges as HostConfig.SecurityOpt (moby daemon/cluster/executor/container/container.go applyPrivileges). */
export function securityOptions(privileges: ContainerSpec['Privileges']): readonly string[] {
  if (privileges === undefined) return []
  const { SELinuxContext: selinux, Seccomp: seccomp, AppArmor: appArmor } = privileges
  const options: string[] = []
  if (privileges.NoNewPrivileges === true) options.push('no-new-privileges:true')
  if (selinux !== undefined) {
    if (selinux.Disable === true) options.push('label=disable')
    for (const field of ['User', 'Role', 'Type', 'Level'] as const) {
      const value = selinux[field]
      if (value !== undefined && value !== '') options.push(`label=${field.toLowerCase()}:${value}`)
    }
  }
  if (seccomp?.Mode === 'unconfined') options.push('seccomp=unconfined')
  if (seccomp?.Mode === 'custom') options.push(`seccomp=${customProfile(seccomp.Profile)}`)
  if (appArmor?.Mode === 'disabled') options.push('apparmor=unconfined')
  return options
}

/** A []byte in Docker's API: base64 of a JSON profile. */
function customProfile(profile: string | undefined): string {
  const text = Buffer.from(profile ?? '', 'base64').toString('utf8')
  try {
    return JSON.stringify(JSON.parse(text))
  } catch (error) {
    throw new TaskRejectedError(
      `Privileges.Seccomp.Profile is not base64 of a JSON seccomp profile: ${(error as Error).message}`,
    )
  }
}
