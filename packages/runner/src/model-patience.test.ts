import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ModelPatience, type ModelFailure } from './model-patience.js'

const limitMs = 60_000
let failures: ModelFailure[]
let patience: ModelPatience
beforeEach(() => {
  vi.useFakeTimers()
  failures = []
  patience = new ModelPatience(limitMs, (failure) => failures.push(failure))
})
afterEach(() => {
  vi.useRealTimers()
})

test('a request that nothing answers exhausts it', () => {
  patience.requested()
  vi.advanceTimersByTime(limitMs - 1)
  expect(failures).toEqual([])
  vi.advanceTimersByTime(1)
  expect(failures).toMatchObject([{ code: 'MODEL_FAILED', message: expect.stringContaining('60 s') }])
})

test('pauses between tries that fail count; the last failure is told', () => {
  for (let tries = 0; tries < 7; tries++) {
    patience.requested()
    patience.ended(tries === 6 ? 429 : 529, undefined)
    vi.advanceTimersByTime(9_000)
  }
  expect(failures).toMatchObject([{ code: 'MODEL_RATE_LIMITED', details: { httpStatus: 429 } }])
})

test('an answer that goes on, however slowly, does not exhaust it; one that stops in the middle does', () => {
  patience.requested()
  for (let piece = 0; piece < 10; piece++) {
    vi.advanceTimersByTime(limitMs - 1)
    patience.progressed()
  }
  expect(failures).toEqual([])
  vi.advanceTimersByTime(limitMs)
  expect(failures.length).toBe(1)
})

test('between two requests that were answered the agent may work as long as it likes', () => {
  patience.requested()
  patience.progressed()
  patience.ended(200, undefined)
  vi.advanceTimersByTime(limitMs * 100)
  patience.requested()
  vi.advanceTimersByTime(limitMs - 1)
  patience.ended(200, undefined)
  patience.requested()
  patience.ended(200, 'it ended in the middle')
  patience.close()
  vi.advanceTimersByTime(limitMs * 2)
  expect(failures).toEqual([])
})

test('a second request that is answered does not hide the first that hangs', () => {
  patience.requested()
  patience.requested()
  patience.progressed()
  patience.ended(200, undefined)
  vi.advanceTimersByTime(limitMs)
  expect(failures.length).toBe(1)
})

test('an agent that asks for nothing after its prompt exhausts it too', () => {
  patience.prompted()
  vi.advanceTimersByTime(limitMs)
  expect(failures).toMatchObject([{ code: 'AGENT_START_FAILED' }])
})
