import { describe, expect, test } from 'vitest'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import { expandTemplate, type TemplateContext } from './template.ts'

const context: TemplateContext = {
  Service: { ID: 'sid', Name: 'web', Labels: { tier: 'front', 'com.example.zone': 'b', '': 'empty' } },
  Node: { ID: 'nid', Hostname: 'host-1', Platform: { Architecture: 'x86_64', OS: 'linux' } },
  Task: { ID: 'tid', Name: 'web.3.tid', Slot: '3' },
}
const expand = (text: string): string => expandTemplate(text, context, 'Hostname')

describe('a placeholder expands', () => {
  test.each([
    ['no placeholder', 'no placeholder'],
    ['', ''],
    ['{{.Service.ID}}', 'sid'],
    ['{{.Service.Name}}', 'web'],
    ['{{.Service.Labels.tier}}', 'front'],
    ['{{.Node.ID}}', 'nid'],
    ['{{.Node.Hostname}}', 'host-1'],
    ['{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}', 'linux/x86_64'],
    ['{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}', 'tid web.3.tid 3'],
    ['{{ .Task.Slot }}', '3'],
    ['{{\t.Task.Slot\n}}', '3'],
    ['a {{- .Task.Slot -}} b', 'a3b'],
    ['a {{.Task.Slot}} b', 'a 3 b'],
    ['{{index .Service.Labels "com.example.zone"}}', 'b'],
    ['{{ index .Service.Labels `tier` }}', 'front'],
    // Go's index of a map without the key is the zero value.
    ['[{{index .Service.Labels "none"}}]', '[]'],
    ['{{"{{"}}.Task.Slot}}', '{{.Task.Slot}}'],
    ['{{`}}`}}', '}}'],
    ['{{/* a comment */}}x', 'x'],
    ['}} {', '}} {'],
    ['{{.Task.Slot}}}', '3}'],
    ['json: {"a":"{{.Task.Slot}}"}', 'json: {"a":"3"}'],
  ])('%j → %j', (text, expanded) => {
    expect(expand(text)).toBe(expanded)
  })
})

describe('what is unknown is refused by name', () => {
  test.each([
    ['{{.Task.Slit}}', 'there is no field "Slit" (known: ID, Name, Slot)'],
    ['{{.Container.Name}}', 'there is no field "Container" (known: Service, Node, Task)'],
    ['{{.Task.Slot.Deep}}', 'there is no field "Deep" (known: none)'],
    ['{{.Service.Labels.none}}', 'the service has no label "none"'],
    ['{{.Service.Labels}}', 'it is not a single value'],
    ['{{.Node.Platform}}', 'it is not a single value'],
    ['{{index .Node "ID"}}', '.Node is no map'],
    ['{{.Service.constructor}}', 'there is no field "constructor"'],
    ['{{env "HOME"}}', 'only .Service, .Node and .Task fields and `index` are known'],
    ['{{if .Task.Slot}}x{{end}}', 'only .Service, .Node and .Task fields and `index` are known'],
    ['{{}}', 'only .Service, .Node and .Task fields and `index` are known'],
    ['{{.}}', 'only .Service, .Node and .Task fields and `index` are known'],
    ['{{.Task.Slot', 'it is not closed by }}'],
    ['{{"open}}', 'it is not closed by }}'],
  ])('%j: %s', (text, words) => {
    expect(() => expand(text)).toThrow(TaskRejectedError)
    expect(() => expand(text)).toThrow(`invalid template in Hostname: "`)
    expect(() => expand(text)).toThrow(words)
  })

  test('at once, also when it is very long', () => {
    const text = `{{${'"'.repeat(20_001)}}}`
    const startedAt = performance.now()
    expect(() => expand(text)).toThrow(TaskRejectedError)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })
})
