import { expect, test } from 'vitest'
import { addUsage, noUsage, traceSchema, type EventOf, type Vm0Event } from '@vm0/contract'
import { findingsOf, recordOf, storyOf, traceOf } from '@vm0/insight'
import { recordedRun, recordings } from './support/recorded-run.js'

const of = <T extends Vm0Event['type']>(events: Vm0Event[], type: T): EventOf<T>[] =>
  events.filter((event): event is EventOf<T> => event.type === type)

test.each(recordings)('%s: every call and every request of the recording is a span, with all tokens', (name) => {
  const { run, events } = recordedRun(name)
  const { spans } = traceSchema.parse(traceOf(run, events))
  const called = of(events, 'tool.started').map(({ toolId }) => toolId)
  const tools = spans.filter(({ kind }) => kind === 'tool')
  expect(tools.map(({ attributes }) => attributes['gen_ai.tool.call.id']).toSorted()).toEqual(called.toSorted())
  const used = of(events, 'usage').filter(({ scope }) => scope === 'step')
  const { outputTokens, inputTokens, cacheReadTokens, cacheWriteTokens } = used.reduce(
    (sum, { usage }) => addUsage(sum, usage),
    noUsage,
  )
  const sum = (key: string): number =>
    spans.reduce((total, { kind, attributes }) => total + (kind === 'model' ? Number(attributes[key] ?? 0) : 0), 0)
  expect(sum('gen_ai.usage.output_tokens')).toBe(outputTokens)
  expect(sum('gen_ai.usage.input_tokens')).toBe(inputTokens + cacheReadTokens + cacheWriteTokens)
  expect(spans.filter(({ kind }) => kind === 'turn')).toHaveLength(
    new Set(of(events, 'agent.finished').map(({ cursor }) => cursor)).size,
  )
})

test('recorded runs, none of which went wrong by its own fault, give no finding', () => {
  for (const name of recordings) expect([name, findingsOf(recordOf(recordedRun(name).events))]).toEqual([name, []])
})

test('the stories of the recorded runs', async () => {
  const stories = recordings.map((name) => {
    const { run, events } = recordedRun(name)
    const { line, paragraph, steps } = storyOf(recordOf(events), run)
    // How long it took differs from one recording to the next.
    const lines = [line, paragraph, ...steps.map(({ text }) => `- ${text}`)]
    return [`# ${name}`, ...lines].join('\n').replaceAll(/\d+(?:\.\d)? m?s\b/g, '…')
  })
  await expect(`${stories.join('\n\n')}\n`).toMatchFileSnapshot('recorded-stories.txt')
})
