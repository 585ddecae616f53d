import fc from 'fast-check'
import { expect, test } from 'vitest'
import { storySchema, type EventBody, type Story } from '@vm0/contract'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { storyOf } from './story.js'

const told = ({ run, events }: RunLog, prompt?: string): Story =>
  storySchema.parse(storyOf(recordOf(events), { ...run, costUsd: 0.02 }, prompt))

function mended(): RunLog {
  const log = new RunLog().begin().model()
  log.call('Read', { file_path: '/workspace/src/clock.ts' }, 'text').call('Grep', { pattern: 'now' }, 'src/clock.ts')
  log.bash('npm test', 'failed', 1).bash('npm test', 'failed', 1)
  log.call('Edit', { file_path: '/workspace/src/clock.ts', old_string: 'a', new_string: 'b' }, 'updated')
  return log.bash('npm test', 'ok').model().turnEnds('The clock is right now.').end()
}

test('one line: what was asked, how it ended, what it took, what it did', () => {
  expect(told(mended(), 'mend the clock').line).toBe(
    'Asked “mend the clock”: succeeded after 3.2 s for $0.02; read 1 file and searched once, ran 3 commands (2 failed) and changed src/clock.ts.',
  )
  expect(told(new RunLog().add({ type: 'run.queued' }, 0)).line).toBe('Is running after 0 ms for $0.02.')
})

test('a paragraph: also what failed and how often, and what was said last', () => {
  expect(told(mended(), 'mend the clock').paragraph).toBe(
    'It was asked: “mend the clock”. Its sandbox was ready after 500 ms (made anew). It read 1 file and searched once, ran 3 commands (2 failed) and changed src/clock.ts. `npm test` failed 2 times, then succeeded. The model answered 2 requests: 0 tokens in, 0 out, for $0.02. It succeeded after 3.2 s. It said last: “The clock is right now.”',
  )
})

test('steps: calls that belong together are one, each with its time and its events', () => {
  const { steps } = told(mended())
  expect(steps.map(({ text }) => text)).toEqual([
    'Looked around: read 1 file and searched once.',
    'Ran `npm test` 2 times, each failed with exit 1.',
    'Changed src/clock.ts.',
    'Ran `npm test`: succeeded.',
  ])
  expect(steps[1]).toMatchObject({ durationMs: 210 })
  expect(steps[1]!.cursors).toHaveLength(2)
})

test('what was open at death is named', () => {
  const log = new RunLog().begin()
  log.started('Bash', { command: 'npm run build' })
  log.end('died', 'out_of_memory')
  expect(told(log).paragraph).toContain('It died (out of memory) after 530 ms while `npm run build` was at work.')
  expect(told(log).steps.at(-1)!.text).toBe('Ran `npm run build`: did not end.')
})

test('sub-agents, denials, compactions and inputs are told', () => {
  const log = new RunLog().begin()
  const task = log.started('Task', { prompt: 'x' }, { title: 'Look downstairs' })
  log.finished(log.started('Bash', { command: 'ls' }, { parentToolId: task }), 'Bash', '', { parentToolId: task })
  log.finished(task, 'Task', 'nobody')
  log.add({ type: 'input.sent', text: 'faster' })
  log.add({ type: 'compaction', phase: 'finished' })
  log.add({ type: 'permission.resolved', name: 'Bash', decision: 'deny', by: 'platform' })
  expect(told(log).steps.map(({ text }) => text)).toEqual([
    'Sent a sub-agent: `Look downstairs`, which made 1 call; it succeeded.',
    'Was told something more.',
    'Its conversation was compacted.',
    'Was denied Bash.',
  ])
})

const body = fc.oneof(
  fc.record({ toolId: fc.string(), title: fc.string(), command: fc.string() }).map(({ toolId, title, command }) => ({
    type: 'tool.started',
    toolId,
    name: title.slice(0, 5),
    kind: 'shell',
    input: { command },
    title,
  })),
  fc.record({ toolId: fc.string(), output: fc.string(), ok: fc.boolean() }).map((fields) => ({
    type: 'tool.finished',
    name: 'X',
    outputTruncated: false,
    durationMs: 1,
    ...fields,
  })),
  fc.string().map((text) => ({ type: 'message', messageId: 'm', text })),
  fc.string().map((text) => ({ type: 'raw', source: 'x', data: text })),
)

test('odd streams are told too: always the same words, each on one line', () => {
  fc.assert(
    fc.property(fc.array(body, { maxLength: 30 }), fc.string(), (bodies, prompt) => {
      const log = new RunLog()
      for (const each of bodies) log.add(each as EventBody)
      const story = told(log, prompt)
      expect(story).toEqual(told(log, prompt))
      for (const text of [story.line, story.paragraph, ...story.steps.map((step) => step.text)]) {
        expect(text).not.toContain('\n')
        expect(text).not.toContain('undefined')
      }
    }),
  )
})
