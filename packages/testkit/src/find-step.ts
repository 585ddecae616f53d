import { systemText, whatWasSaid, type MessagesRequest } from './request.js'
import type { Conversation, Expectation, ParsedScript, Step } from './script.js'

export interface Due {
  step: Step
  /** The last tool results, and what a person said since. */
  result: string
}

/** The step that answers a request; undefined where no script knows its prompt. Depends on the request alone. */
export function findStep(scripts: readonly ParsedScript[], request: MessagesRequest): Due | undefined {
  const conversations = scripts.flatMap((script) => script.conversations)
  let conversation: Conversation | undefined
  /** One for each round of tool calls since the prompt. */
  let rounds: string[] = []
  for (const { role, texts, results } of whatWasSaid(request)) {
    // An agent tells the model in a message of role `system` what a person said in the middle of a turn.
    if (role === 'system' && rounds.length > 0) rounds.push(`${rounds.pop()}\n${texts.join('\n')}`)
    if (role !== 'user') continue
    // An agent may join an interrupted prompt, or its tool results, and the next prompt in one message: the last counts.
    const prompted = texts
      .toReversed()
      .flatMap((text) => conversations.find(({ when }) => matches(when, text)) ?? [])[0]
    if (prompted || results.length === 0) {
      conversation = prompted
      rounds = []
    } else rounds.push(results.join('\n'))
  }
  if (!conversation) return undefined
  const { steps } = conversation
  const special = (result: string): Step | undefined =>
    steps.find(({ onResult }) => onResult !== undefined && matches(onResult, result))
  const inOrder = steps.filter(({ onResult }) => onResult === undefined)
  const position = rounds.filter((result) => !special(result)).length
  const result = rounds.at(-1) ?? ''
  const step = (rounds.length > 0 && special(result)) || inOrder[Math.min(position, inOrder.length - 1)]
  return step && { step, result }
}

/** What the request lacks, in words; undefined when it is as the step expects. */
export function unmet({ step, result }: Due, request: MessagesRequest): string | undefined {
  if (step.expect === undefined) return undefined
  const expected: Expectation = typeof step.expect === 'string' ? { result: step.expect } : step.expect
  const texts = {
    result: () => result,
    system: () => systemText(request),
    messages: () => JSON.stringify(request.messages),
    model: () => request.model,
  }
  for (const name of ['result', 'system', 'messages', 'model'] as const) {
    const source = expected[name]
    const text = texts[name]()
    if (source !== undefined && !matches(source, text))
      return `expected ${whatIs[name]} to match /${source}/; it was: ${text.slice(-2000)}`
  }
  const offered = (request.tools ?? []).map(({ name }) => name)
  const missing = (expected.tools ?? []).filter((name) => !offered.includes(name))
  return missing.length > 0
    ? `expected the tools ${missing.join(', ')} to be on offer; those are: ${offered.join(', ')}`
    : undefined
}

const whatIs = {
  result: 'the tool result',
  system: 'the system prompt',
  messages: 'the conversation',
  model: 'the model',
}

function matches(source: string, text: string): boolean {
  return new RegExp(source, 's').test(text)
}
