import { expect, test } from 'vitest'
import { whySchema, type EventBody, type Resources, type Scene, type Why } from '@vm0/contract'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { whyOf } from './why.js'

const resources: Resources = { memoryMiB: 1024, diskMiB: 512 }
const why = ({ run, events }: RunLog): Why => whySchema.parse(whyOf(recordOf(events), run, { resources, prompt: 'x' }))

function ended(
  state: 'failed' | 'died' | 'cancelled',
  reason: string,
  message = 'it says why',
  before: (log: RunLog) => unknown = (log) => log.started('Bash', { command: 'npm run build' }),
): Why {
  const log = new RunLog().begin().model()
  before(log)
  const code = reason.toUpperCase() as never
  log.add({ type: 'status', state: 'idle' }, 4000)
  return why(log.end(state, reason, { code, message, hint: 'the table says what to do' }))
}

test('out of memory: what was at work, and how to give it more', () => {
  const told = ended('died', 'out_of_memory')
  expect(told).toMatchObject({
    cause: 'the sandbox ran out of memory of 1024 MiB, and the kernel killed the agent',
    certainty: 'known',
    culprit: { text: '`npm run build` (Bash) had been at work for 4.0 s', command: 'npm run build', toolId: 'toolu_2' },
  })
  expect(told.next[0]).toBe('Run it with more memory: vm0 run -s 00005e55 --memory 2048 "…"')
  expect(told.evidence[0]).toMatchObject({ text: 'OUT_OF_MEMORY: it says why', cursor: expect.any(String) })
})

test.each([
  ['npm test -- --watch', 'timeout 60 npm test -- --watch'],
  ['cd /workspace; make', 'timeout 60 before what takes long in it'],
  ['make | tail', 'timeout 60 before what takes long in it'],
  ['cd /workspace', 'timeout 60 before what takes long in it'],
])('a time limit met by %j: an end that can be given to it', (command, end) => {
  const told = ended('failed', 'timed_out', 'x', (log) => log.started('Bash', { command }))
  expect(told.next).toContain(`Or give the command an end of its own: ${end}`)
})

test('a time limit: what took the time, also of a call that the agent ended when it was asked to', () => {
  const told = ended('failed', 'timed_out', 'the run took longer than its limit of 5000 ms', (log) => {
    const call = log.started('Bash', { command: 'sleep 300' })
    log.finished(call, 'Bash', "The user doesn't want to proceed with this tool use.", { ok: false, durationMs: 4000 })
  })
  expect(told.culprit).toMatchObject({ command: 'sleep 300', runningMs: 4000, lastOutput: [] })
  expect(told.next).toContain('Or give the command an end of its own: timeout 60 sleep 300')
  expect(told.evidence[1]!.text).toMatch(/^Bash `sleep 300` took 4\.0 s, \d+% of the run$/)
})

test.each([
  ['failed', 'model_unauthorized', 'known', /refused the platform's key/, /ANTHROPIC_API_KEY/],
  ['failed', 'model_rate_limited', 'known', /limits how much/, /Wait a little/],
  ['failed', 'model_failed', 'known', /no answer of use: it says why/, /provider/],
  ['failed', 'max_turns', 'known', /used up its turns after 1 tool call/, /Go on in the same session/],
  ['failed', 'agent_failed', 'known', /it says why/, /the table says/],
  ['died', 'agent_crashed', 'known', /it says why/, /Go on from the last checkpoint/],
  ['died', 'agent_hung', 'known', /it says why/, /Try again/],
  ['died', 'host_lost', 'known', /it says why/, /Go on from the last checkpoint/],
  ['died', 'platform_stopped', 'known', /it says why/, /Go on from the last checkpoint/],
  ['died', 'host_disk_full', 'known', /host's own disk/, /vm0 gc/],
  ['cancelled', 'cancelled', 'known', /somebody cancelled it/, /Go on where it was/],
  ['died', 'something_new', 'known', /it says why/, /the table says/],
] as const)('%s (%s): a cause and a next step', (state, reason, certainty, cause, next) => {
  const told = ended(state, reason)
  expect(told).toMatchObject({ certainty, cause: expect.stringMatching(cause) })
  expect(told.next[0]).toMatch(next)
  expect(told.culprit?.command).toBe('npm run build')
})

test('an agent that ends in its own way on a full disk: the disk is the cause, and it says that this is inferred', () => {
  const told = ended('failed', 'agent_failed', 'could not write', (log) =>
    log.bash('yes > big', 'yes: standard output: No space left on device', 1),
  )
  expect(told).toMatchObject({ cause: "the sandbox's disk of 512 MiB was full", certainty: 'inferred', culprit: null })
  expect(told.findings.map(({ kind }) => kind)).toEqual(['disk.full'])
})

const noPressure = { some: 0, full: 0 }
const scene: Scene = {
  memory: { usedBytes: 1, limitBytes: 9, peakBytes: 2, anonBytes: 1, fileBytes: 0, shmemBytes: 0, kernelBytes: 0 },
  memoryCurve: [],
  processes: [],
  processCount: 1,
  processLimit: 9,
  cpu: { share: 0, throttledMs: 6_000 },
  disk: { usedBytes: 1, totalBytes: 9 },
  network: { receivedBytes: 0, sentBytes: 0 },
  pressure: { of: 'host', memory: noPressure, cpu: noPressure, io: noPressure },
}

test('an agent that crashed: what the kernel saw, and its last words', () => {
  const told = ended('died', 'agent_crashed', 'ended with status 139', (log) =>
    log
      .add({ type: 'stderr', text: 'first' })
      .add({ type: 'stderr', text: 'FATAL: out of ideas' })
      .add({
        type: 'sandbox.report',
        trigger: 'agent_ended',
        scene,
        toolIds: [],
        uncommitted: { paths: [], more: 0 },
        exitCode: 139,
        crash: 'segfault at 0 ip 1 sp 2 error 4 in libc.so.6',
      }),
  )
  const texts = told.evidence.map(({ text }) => text)
  expect(texts).toContain('the kernel saw its fault: segfault at 0 ip 1 sp 2 error 4 in libc.so.6')
  expect(texts).toContain('it said last: first | FATAL: out of ideas')
})

const starvedOf = { overMs: 9_000, usedCpus: 0.18, allowedCpus: 2, waitingTasks: 1.4, hostCpus: 4, hostLoad: 9.5 }

test.each([
  [
    { share: 0.89, cpu: { by: 'others' as const, ...starvedOf } },
    'it says why, and its processes waited 89% of the time for a CPU: others on the host had them',
    /VM0_MAX_SANDBOXES/,
    "the kernel's account: 0.18 of 2 CPUs used over 9.0 s while 1.4 tasks waited for one, on average; the host's load was 9.5 on 4 CPUs",
    ['cpu.crowded', 'host'],
  ],
  [
    { share: 0.9, cpu: { by: 'limit' as const, ...starvedOf, allowedCpus: 1 } },
    'it says why, and its processes waited 90% of the time for CPU time: the sandbox had used up its 1 CPU',
    /more CPUs/,
    'the kernel kept them from running for 6.0 s in all; 0.18 of 1 CPU used over 9.0 s while 1.4 tasks waited for one, on average',
    ['cpu.starved', 'resources'],
  ],
  [
    { share: 0.8 },
    'it says why, and its processes waited 80% of the time for CPU time: the sandbox had used up its own',
    /more CPUs/,
    'the kernel kept them from running for 6.0 s in all',
    ['cpu.starved', 'resources'],
  ],
])('a time limit met without CPU time: whose fault that was, %j', (starved, cause, next, evidence, [kind, where]) => {
  const told = ended('failed', 'timed_out', 'it says why', (log) =>
    log.add({
      type: 'sandbox.report',
      trigger: 'cpu_starved',
      scene,
      toolIds: [],
      uncommitted: { paths: [], more: 0 },
      ...starved,
    }),
  )
  expect(told.cause).toBe(cause)
  expect(told.next[0]).toMatch(next)
  expect(told.evidence.map(({ text }) => text)).toContain(evidence)
  expect(told.findings).toMatchObject([{ kind, adjust: { where } }])
  expect(told.story.steps.map(({ text }) => text)).toContain(`Its ${cause.slice('it says why, and its '.length)}.`)
})

test('a short run that went well is told of no crowd, a long one is', () => {
  const kinds = (overMs: number): string[] => {
    const log = new RunLog().begin().add({
      type: 'sandbox.report',
      trigger: 'cpu_starved',
      scene,
      toolIds: [],
      uncommitted: { paths: [], more: 0 },
      share: 0.9,
      cpu: { by: 'others', ...starvedOf, overMs },
    })
    return why(log.turnEnds().end()).findings.map(({ kind }) => kind)
  }
  expect(kinds(6_000)).toEqual([])
  expect(kinds(30_000)).toEqual(['cpu.crowded'])
})

test('a model that does not answer is what was at work', () => {
  const told = ended('failed', 'model_failed', 'nothing came', (log) =>
    log.add({ type: 'model.request', method: 'POST', path: '/v1/messages', first: false }),
  )
  expect(told.culprit?.text).toBe('a request to the model had been without an answer for 4.0 s')
})

test('what a sub-agent had open is told before the call that sent it', () => {
  const told = ended('died', 'out_of_memory', 'x', (log) => {
    const task = log.started('Task', { prompt: 'x' })
    log.started('Bash', { command: 'make' }, { parentToolId: task })
  })
  expect(told.culprit?.command).toBe('make')
})

test('a run that succeeded has no culprit, but findings and a story', () => {
  const log = new RunLog().begin()
  for (let index = 0; index < 3; index++) log.bash('npm test', 'failed', 1)
  const told = why(log.turnEnds().end())
  expect(told).toMatchObject({ state: 'succeeded', culprit: null, cause: 'it succeeded' })
  expect(told.findings.map(({ kind }) => kind)).toEqual(['cmd.repeat_fail'])
  expect(told.next[0]).toMatch(/^CLAUDE\.md: - `npm test`/)
  expect(told.story.line).toContain('Asked “x”')
})

test('attempts that were lost are told, with what was at work then', () => {
  const log = new RunLog().begin()
  log.started('Bash', { command: 'pkill -f node' })
  log.add({ type: 'run.resumed', attempt: 2, reason: 'agent_killed', note: 'go on' }).turnEnds().end()
  const told = why(log)
  expect(told.evidence[0]!.text).toBe(
    'attempt 1 was lost (agent_killed) while Bash `pkill -f node` was at work; the run was taken up again',
  )
  expect(told.findings.map(({ kind }) => kind)).toEqual(['run.lost'])
  expect(told.story.paragraph).toContain('It was lost and taken up again 1 time (agent killed).')
  expect(told.story.steps.map(({ text }) => text)).toContain('Was lost (agent killed) and taken up again.')
})

test('of one that goes on, it says what it does', () => {
  const log = new RunLog().begin()
  log.started('Bash', { command: 'make' })
  log.add({ type: 'status', state: 'idle' } as EventBody, 2000)
  expect(why(log)).toMatchObject({
    cause: 'it has not ended: it is running for 2.5 s',
    culprit: { text: '`make` (Bash) has been at work for 2.0 s' },
  })
})
