import { UnexpectedStatus } from '../../scripts/bed/socket-http.ts'
import type { TestHost } from '../e2e/hosts.ts'
import { type ServiceRow, services } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'

const names = ['ash', 'birch', 'cedar', 'dogwood']
const images = ['moot/test:1', 'moot/test:2']

export function newService(name: string, replicas: number, image = 'moot/test:1'): object {
  return {
    Name: name,
    TaskTemplate: { ContainerSpec: { Image: image, StopGracePeriod: 1_000_000_000 } },
    Mode: { Replicated: { Replicas: replicas } },
    // All at once, and on: how long an update takes is not what is tried here.
    UpdateConfig: { Parallelism: 0, FailureAction: 'continue' },
  }
}

/** One random edit on this host. What is refused because others edit too (404, 409, a stale version) is no failure. */
export async function randomEdit(host: TestHost, random: Random): Promise<string> {
  const name = random.pick(names) ?? ''
  const found = (await services(host)).find(({ Spec }) => Spec.Name === name)
  try {
    if (found === undefined) {
      await host.api('POST', '/services/create', newService(name, random.between(0, 4)))
      return `${host.name} creates ${name}`
    }
    if (random.chance(0.2)) {
      await host.api('DELETE', `/services/${found.ID}`)
      return `${host.name} removes ${name}`
    }
    await host.api(
      'POST',
      `/services/${found.ID}/update?version=${found.Version.Index}`,
      changed(found, random),
    )
    return `${host.name} changes ${name}`
  } catch (error) {
    if (error instanceof UnexpectedStatus && [404, 409, 500].includes(error.status)) {
      return `${host.name} is refused ${name}`
    }
    throw error
  }
}

function changed({ Spec }: ServiceRow, random: Random): object {
  if (random.chance(0.5)) return { ...Spec, Mode: { Replicated: { Replicas: random.between(0, 5) } } }
  const container = { ...Spec.TaskTemplate.ContainerSpec, Image: random.pick(images) }
  return { ...Spec, TaskTemplate: { ...Spec.TaskTemplate, ContainerSpec: container } }
}
