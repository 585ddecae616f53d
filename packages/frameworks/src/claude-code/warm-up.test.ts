import { expect, test } from 'vitest'
import { ClaudeWarmUp } from './warm-up.js'

const ask = (
  warmUp: ClaudeWarmUp,
  content: unknown,
): { id: string; stop_reason: string; content: { id?: string }[] } => {
  const body = JSON.stringify({ model: 'any', messages: [{ role: 'user', content }] })
  return JSON.parse(warmUp.answer({ method: 'POST', path: '/v1/messages', body }).body) as ReturnType<typeof ask>
}

test('each turn calls a tool, with an id of its own, and ends with its result', () => {
  const warmUp = new ClaudeWarmUp()
  const calls = [1, 2].map(() => {
    const call = ask(warmUp, 'a prompt')
    expect(call.stop_reason).toBe('tool_use')
    expect(ask(warmUp, [{ type: 'tool_result', tool_use_id: call.content[0]!.id }]).stop_reason).toBe('end_turn')
    return call
  })
  expect(calls[0]!.content[0]!.id).not.toBe(calls[1]!.content[0]!.id)
  expect(calls[0]!.id).not.toBe(calls[1]!.id)
})

test('an agent that never shows a result is not asked for tools for ever', () => {
  const warmUp = new ClaudeWarmUp()
  const reasons = Array.from({ length: 10 }, () => ask(warmUp, 'a prompt').stop_reason)
  expect(reasons.lastIndexOf('tool_use')).toBeLessThan(5)
})

test('it is ready once two turns were taken back, and says so when one was not', () => {
  const answered = (rewound: boolean): string =>
    JSON.stringify({ type: 'control_response', response: { subtype: 'success', response: { rewound } } })
  const result = JSON.stringify({ type: 'result' })
  const warmUp = new ClaudeWarmUp()
  warmUp.start()
  expect(warmUp.line(result)).toMatchObject({ write: [expect.stringContaining('rewind_conversation')] })
  expect(warmUp.line(answered(true))).toMatchObject({ write: [expect.stringContaining('"type":"user"')] })
  expect(warmUp.line(result)).toMatchObject({ write: [expect.stringContaining('rewind_conversation')] })
  expect(warmUp.line(answered(true))).toHaveProperty('run')
  expect(warmUp.output()).toBe('ready')

  const other = new ClaudeWarmUp()
  other.start()
  other.line(result)
  expect(() => other.line(answered(false))).toThrow('was not taken back')
})
