import { describe, expect, test } from 'vitest'
import { defaults } from '../../defaults.ts'
import { label } from './labels.ts'
import { dataHere, type ListedVolume } from './volumes.ts'

function volume(Name: string, parts: Partial<ListedVolume> = {}): ListedVolume {
  return { Name, Driver: 'local', Labels: null, Options: null, ...parts }
}

describe('whose data is on this host', () => {
  test('is what has a name and the local driver, whoever made it', () => {
    const listed = [
      volume('z-ours', { Labels: { [label.cluster]: 'one' } }),
      volume('data'),
      volume('bound', { Options: { type: 'none', o: 'bind', device: '/srv/data' } }),
      volume('nfs', { Options: { type: 'nfs4', device: ':/srv' } }),
      volume('elsewhere', { Driver: 'rexray' }),
      volume('0123456789abcdef'.repeat(4), { Labels: { 'com.docker.volume.anonymous': '' } }),
    ]
    expect(dataHere(listed)).toEqual(['bound', 'data', 'z-ours'])
  })

  test('is what Moot made first, where there is more than can be told', () => {
    const others = Array.from({ length: defaults.volumesToldLimit }, (_, at) => volume(`a${at}`))
    const told = dataHere([...others, volume('z-ours', { Labels: { [label.cluster]: 'one' } })])
    expect(told).toHaveLength(defaults.volumesToldLimit)
    expect(told).toContain('z-ours')
  })
})
