import { describe, expect, it } from 'vitest'
import { parseStack } from './load.ts'
import { convertStack, type ConvertedStack } from './stack.ts'
import { bytes, durationNs, shellWords } from './values.ts'

function convert(text: string, environment: Record<string, string> = {}): ConvertedStack {
  return convertStack(
    'shop',
    { stack: parseStack(text, 'stack.yml', environment), directory: '/srv' },
    environment,
  )
}

const web = (lines: string): string => `services:\n  web:\n    image: moot/test:1\n${lines}`

describe('a Compose file', () => {
  it.each([
    ['${NAME}', { NAME: 'x' }, 'x'],
    ['$NAME-1', { NAME: 'x' }, 'x-1'],
    ['${NAME:-other}', { NAME: '' }, 'other'],
    ['${NAME-other}', { NAME: '' }, ''],
    ['${NAME:+given}', { NAME: 'x' }, 'given'],
    ['$$NAME', {}, '$NAME'],
  ])('interpolates %s', (text, environment, expected) => {
    const { services } = convert(web(`    hostname: "${text}"\n`), environment)
    expect(services[0]?.TaskTemplate.ContainerSpec.Hostname).toBe(expected)
  })

  it.each([
    [
      'an unknown option, with its line',
      web('    bogus: 1\n'),
      /stack\.yml:4: services\.web\.bogus: no such option/,
    ],
    ['a service without an image', 'services:\n  web: {}\n', /services\.web\.image/],
    [
      'a required variable that is missing',
      web('    hostname: ${H:?say which}\n'),
      /H is required: say which/,
    ],
    [
      'a size that is none',
      web('    deploy: { resources: { limits: { memory: lots } } }\n'),
      /memory: "lots" is no size/,
    ],
    [
      'a duration that is none',
      web('    stop_grace_period: soon\n'),
      /stop_grace_period: "soon" is no duration/,
    ],
    ['a port that is none', web('    ports: [ "http" ]\n'), /ports\[0\]: "http" is no port/],
    ['a port on one host address', web('    ports: [ "127.0.0.1:80:80" ]\n'), /names a host address/],
    ['an undeclared volume', web('    volumes: [ "data:/data" ]\n'), /the volume "data" is not among/],
    ['an undeclared network', web('    networks: [ far ]\n'), /the network "far" is not among/],
    ['a relative mount target', web('    volumes: [ "/a:b" ]\n'), /not an absolute path/],
    ['secrets', `${web('')}secrets: { a: { file: x } }\n`, /secrets and configs are not there yet/],
    ['YAML that does not parse', 'services: [', /stack\.yml/],
    ['something that is no mapping', '- a\n', /is a mapping with "services:"/],
  ])('refuses %s, naming the place', (_what, text, message) => {
    expect(() => convert(text)).toThrow(message)
  })

  it('names what a stack ignores', () => {
    expect(convert(web('    container_name: x\n    depends_on: [ a ]\n')).warnings).toEqual([
      'a stack does not use, and ignores: container_name, depends_on',
    ])
  })

  it('gives a service a tmpfs where it asks for one', () => {
    const { services } = convert(web('    tmpfs: [ /run, "/tmp" ]\n'))
    expect(services[0]?.TaskTemplate.ContainerSpec.Mounts).toEqual([
      { Type: 'tmpfs', Target: '/run' },
      { Type: 'tmpfs', Target: '/tmp' },
    ])
  })

  it('lets extension fields and anchors be', () => {
    const { services } = convert(
      'x-common: &c { image: "moot/test:2" }\nservices:\n  web: { <<: *c, x-note: hello }\n',
    )
    expect(services[0]?.TaskTemplate.ContainerSpec.Image).toBe('moot/test:2')
  })
})

describe('values', () => {
  it.each([
    ['1m30s', 90e9],
    ['500ms', 0.5e9],
    ['1.5h', 5400e9],
  ])('reads the duration %s', (text, expected) => expect(durationNs(text, 'f')).toBe(expected))

  it.each([
    ['64M', 64 * 1024 ** 2],
    ['1.5gb', 1.5 * 1024 ** 3],
    [1024, 1024],
    ['10k', 10240],
  ])('reads the size %s', (text, expected) => expect(bytes(text, 'f')).toBe(expected))

  it('splits words as a shell does', () => {
    expect(shellWords(`sh -c "a 'b' \\"c\\"" 'd e' f\\ g ""`, 'f')).toEqual([
      'sh',
      '-c',
      `a 'b' "c"`,
      'd e',
      'f g',
      '',
    ])
    expect(() => shellWords('echo "a', 'f')).toThrow(/is not closed/)
  })
})
