import { expect, test } from 'vitest'
import { mayResume, noteOf, resumptionOf, type LossReason } from './resumption.js'
import { failure } from './run-endings.js'

const alone = { attempt: 1, onLoss: undefined, sandboxAlive: true, endedAlone: false }
const crashed = (exitCode: number) => failure('died', 'agent_crashed', 'AGENT_CRASHED', 'ended', { exitCode })

test('an agent that ended in the middle of its turn is started again, by default', () => {
  expect(resumptionOf(crashed(134), alone)).toBe('agent_crashed')
  expect(resumptionOf(crashed(137), alone)).toBe('agent_killed')
  expect(resumptionOf(crashed(137), { ...alone, sandboxAlive: false })).toBe('sandbox_lost')
  expect(resumptionOf(crashed(137), { ...alone, onLoss: 'fail' })).toBeUndefined()
})

test('what is a matter of the run itself ends it', () => {
  const endings = [
    failure('died', 'out_of_memory', 'OUT_OF_MEMORY', 'x', { exitCode: 137 }),
    failure('died', 'output_limit', 'AGENT_CRASHED', 'x', { exitCode: 141 }),
    failure('died', 'agent_crashed', 'AGENT_START_FAILED', 'x', { exitCode: 1 }),
    failure('died', 'host_disk_full', 'HOST_DISK_FULL', 'x'),
    failure('failed', 'model_failed', 'MODEL_FAILED', 'x'),
    failure('cancelled', 'cancelled', 'CANCELLED', 'x'),
    { state: 'succeeded', reason: null, error: null } as const,
  ]
  for (const ending of endings) expect(resumptionOf(ending, alone)).toBeUndefined()
})

test('a turn that failed for its model while no platform was there is taken up again', () => {
  const failed = failure('failed', 'model_failed', 'MODEL_FAILED', 'x')
  expect(resumptionOf(failed, { ...alone, endedAlone: true })).toBe('platform_away')
})

test('no run is taken up for ever', () => {
  const attempts = (loss: LossReason) =>
    Array.from({ length: 20 }, (_, n) => n + 1).filter((attempt) => mayResume(loss, { attempt, onLoss: 'resume' }))
      .length
  expect(attempts('agent_crashed')).toBe(2)
  expect(attempts('agent_killed')).toBe(2)
  expect(attempts('sandbox_lost')).toBe(2)
  expect(attempts('host_lost')).toBe(5)
})

test('the note repeats what the agent may not know: its prompt, and what it was told since', () => {
  const told = { loss: 'host_lost', hasPrompt: true, prompt: 'do it', said: [] } as const
  expect(noteOf(told)).not.toContain('do it')
  expect(noteOf({ ...told, hasPrompt: false })).toContain('\n\ndo it')
  expect(noteOf({ ...told, said: ['be quick', 'or slow'] })).toMatch(/be quick\n\nor slow$/)
})
