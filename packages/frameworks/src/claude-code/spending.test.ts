import type { EventBody } from '@vm0/contract'
import { expect, test } from 'vitest'
import type { Step } from './message-stream.js'
import { Spending } from './spending.js'

const used = (input: number, output: number, costUSD: number) => ({
  m: { inputTokens: input, outputTokens: output, costUSD },
})
const usage = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
})
const step = (messageId: string, input: number, output: number, parentToolId?: string): Step => ({
  messageId,
  model: 'm',
  usage: usage(input, parentToolId ? 1 : output),
  exact: !parentToolId,
  ...(parentToolId ? { parentToolId } : {}),
})
const idOf = (lines: string[]): string => (JSON.parse(lines[0] as string) as { request_id: string }).request_id
const totals = (lines: string[], model_usage: object) => ({
  subtype: 'success',
  request_id: idOf(lines),
  response: { session: { model_usage } },
})
const told = (messageId: string | undefined, input: number, output: number, costUsd: number): EventBody => ({
  type: 'usage',
  scope: 'step',
  model: 'm',
  usage: usage(input, output),
  costUsd,
  ...(messageId ? { messageId } : {}),
})

test('each request costs what the totals rose by', () => {
  const spending = new Spending({ resumed: false })
  const first = spending.ended(step('a', 10, 2))
  expect(spending.answered(totals(first, used(10, 2, 0.02)))).toEqual([told('a', 10, 2, 0.02)])
  const second = spending.ended(step('b', 20, 4))
  expect(spending.answered(totals(second, used(30, 6, 0.05)))).toEqual([told('b', 20, 4, 0.03)])
  const { events, spent } = spending.turn({
    modelUsage: used(30, 6, 0.05),
    model_usage_since_last_result: used(30, 6, 0.05),
  })
  expect(events).toEqual([{ type: 'usage', scope: 'turn', model: 'm', usage: usage(30, 6), costUsd: 0.05 }])
  expect(spent).toEqual({ usage: usage(30, 6), costUsd: 0.05 })
})

test('an answer that holds two requests is shared out, and nothing is lost or told twice', () => {
  const spending = new Spending({ resumed: false })
  const first = spending.ended(step('a', 10, 2))
  const second = spending.ended(step('b', 20, 4))
  expect(spending.answered(totals(first, used(30, 6, 0.03)))).toEqual([told('a', 10, 2, 0.01)])
  expect(spending.answered(totals(second, used(30, 6, 0.03)))).toEqual([told('b', 20, 4, 0.02)])
})

test("a sub-agent's output is what the totals tell, without what belongs to others", () => {
  const spending = new Spending({ resumed: false })
  const sub = spending.ended(step('s', 10, 0, 'call'))
  const main = spending.ended(step('b', 20, 4))
  expect(spending.answered(totals(sub, used(30, 11, 0.085)))).toEqual([
    { ...told('s', 10, 7, 0.045), parentToolId: 'call' },
  ])
  expect(spending.answered(totals(main, used(30, 11, 0.085)))).toEqual([told('b', 20, 4, 0.04)])
})

test('a result tells the steps that had no answer yet, and then what no request accounts for', () => {
  const spending = new Spending({ resumed: false })
  const late = spending.ended(step('a', 10, 2))
  const result = { modelUsage: used(15, 3, 0.03), model_usage_since_last_result: used(15, 3, 0.03) }
  expect(spending.turn(result).events).toEqual([
    told('a', 10, 2, 0.02),
    told(undefined, 5, 1, 0.01),
    { type: 'usage', scope: 'turn', model: 'm', usage: usage(15, 3), costUsd: 0.03 },
  ])
  expect(spending.answered(totals(late, used(15, 3, 0.03)))).toEqual([])
})

test('a resumed process is billed for what it adds to the totals that it begins with', () => {
  const spending = new Spending({ resumed: true })
  const opening = spending.opening()
  expect(spending.opening()).toEqual([])
  expect(spending.answered(totals(opening, used(1000, 100, 7)))).toEqual([])
  const first = spending.ended(step('a', 10, 2))
  expect(spending.answered(totals(first, used(1010, 102, 7.02)))).toEqual([told('a', 10, 2, 0.02)])
  const stated = { modelUsage: used(1010, 102, 7.02), model_usage_since_last_result: used(10, 2, 0.02) }
  expect(spending.turn(stated).spent.costUsd).toBe(0.02)
  // A result that the agent makes when it fails states no sum of its own.
  expect(spending.turn({ modelUsage: used(1015, 103, 7.03) }).spent).toEqual({ usage: usage(5, 1), costUsd: 0.01 })
})

test('totals that begin anew, as after /clear, count whole', () => {
  const spending = new Spending({ resumed: false })
  spending.turn({ modelUsage: used(100, 10, 1), model_usage_since_last_result: used(100, 10, 1) })
  const first = spending.ended(step('a', 10, 2))
  expect(spending.answered(totals(first, used(10, 2, 0.02)))).toEqual([told('a', 10, 2, 0.02)])
})

test('where the agent does not tell its totals, a request has the tokens of its stream and no cost', () => {
  const spending = new Spending({ resumed: false })
  const refused = { subtype: 'error', request_id: idOf(spending.ended(step('a', 10, 2))), error: 'unknown request' }
  expect(spending.answered(refused)).toEqual([{ ...told('a', 10, 2, 0), costUsd: undefined }])
  const result = { modelUsage: used(10, 2, 0.02), model_usage_since_last_result: used(10, 2, 0.02) }
  expect(spending.turn(result).events.at(-1)).toMatchObject({ scope: 'turn', costUsd: 0.02 })
})

test('the answer to another request is none of its business', () => {
  expect(
    new Spending({ resumed: false }).answered({ subtype: 'success', request_id: 'vm0-interrupt-1' }),
  ).toBeUndefined()
})
