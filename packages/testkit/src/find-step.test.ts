import { expect, test } from 'vitest'
import { findStep, unmet } from './find-step.js'
import type { MessagesRequest } from './request.js'
import { scriptSchema } from './script.js'

const script = scriptSchema.parse({
  name: 'test',
  conversations: [
    {
      when: 'bake a (cake|pie)',
      steps: [{ text: 'flour' }, { onResult: 'burnt', text: 'open the window' }, { text: 'oven' }, { text: 'done' }],
    },
    { when: 'look into the cellar', steps: [{ text: 'dark' }] },
  ],
})
type Message = MessagesRequest['messages'][number]
const said = (...texts: string[]): Message => ({ role: 'user', content: texts.map((text) => ({ type: 'text', text })) })
const results = (...contents: string[]): Message => ({
  role: 'user',
  content: contents.map((content) => ({ type: 'tool_result', content })),
})
const model: Message = { role: 'assistant', content: 'x' }
const due = (...messages: Message[]) => findStep([script], { model: 'm', messages })
const answer = (...messages: Message[]): string | undefined => due(...messages)?.step.text

test('the steps of a prompt answer in order of its rounds of tool calls; the last one stays', () => {
  const prompt = said('<system-reminder>bake nothing</system-reminder>', 'please bake a cake')
  expect(answer(prompt)).toBe('flour')
  expect(answer(prompt, model, results('ok', 'ok'))).toBe('oven')
  expect(answer(prompt, model, results('a'), model, results('b'))).toBe('done')
  expect(answer(prompt, model, results('a'), model, results('b'), model, results('c'))).toBe('done')
})

test('a step that waits for a result answers when that comes, and the order goes on from where it was', () => {
  const prompt = said('bake a pie')
  expect(answer(prompt, model, results('it is burnt'))).toBe('open the window')
  expect(answer(prompt, model, results('it is burnt'), model, results('ok'))).toBe('oven')
})

test('the last prompt counts, also where an agent puts it into one message with another or with results', () => {
  const baking = [said('bake a cake'), model]
  expect(answer(...baking, said('look into the cellar'))).toBe('dark')
  expect(answer(said('bake a cake', 'look into the cellar'))).toBe('dark')
  const joined = [
    ...(results('stopped').content as object[]),
    ...(said('[interrupted]', 'look into the cellar').content as object[]),
  ]
  expect(answer(...baking, { role: 'user', content: joined as [] })).toBe('dark')
  expect(answer(...baking, said('what now?'))).toBeUndefined()
})

test('what a person says in the middle of a turn is heard with the result', () => {
  const messages = [said('bake a cake'), model, results('ok'), { role: 'system', content: 'The user said: more sugar' }]
  expect(due(...messages)).toMatchObject({ step: { text: 'oven' }, result: 'ok\nThe user said: more sugar' })
})

test('an expectation that fails says what was expected and what there was', () => {
  const request = { model: 'm', system: 'You bake.', tools: [{ name: 'Read' }], messages: [said('x')] }
  const check = (expected: object | string, result = '') =>
    unmet({ step: { ...script.conversations[0]!.steps[0]!, expect: expected }, result }, request)
  expect(check('crumbs', 'two crumbs')).toBeUndefined()
  expect(check('crumbs', 'nothing')).toBe('expected the tool result to match /crumbs/; it was: nothing')
  expect(check({ system: 'bake', model: 'm', tools: ['Read'], messages: '"x"' })).toBeUndefined()
  expect(check({ system: 'cook' })).toBe('expected the system prompt to match /cook/; it was: You bake.')
  expect(check({ tools: ['Read', 'Bash'] })).toBe('expected the tools Bash to be on offer; those are: Read')
})
