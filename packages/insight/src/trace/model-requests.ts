import type { EventOf, Usage, Vm0Event } from '@vm0/contract'
import { names } from './names.js'
import type { Draft, SpanBook } from './span-book.js'

/** Stamps of the gateway and of the agent's output come from two processes; what differs by less may be one moment. */
const clockSlackMs = 50

interface Step {
  event: EventOf<'usage'>
  atMs: number
  parent: Draft
}

/**
 * The requests to a model as the gateway saw them, each with what the agent told of its cost. The two have no id in common:
 * an answer belongs to the request during which its first words came and whose end is the nearest to its account.
 */
export class ModelRequests {
  private readonly open: Draft[] = []
  private readonly answered: Draft[] = []
  private readonly firstWords = new Map<string, number>()
  private readonly steps: Step[] = []
  private count = 0

  constructor(private readonly book: SpanBook) {}

  request(event: EventOf<'model.request'>, startMs: number, parent: Draft): void {
    this.count += 1
    const isChat = asksForAnswer(event.path)
    this.open.push(
      this.book.open({
        key: `model ${this.count}`,
        kind: 'model',
        name: isChat ? 'chat' : `${event.method} ${pathOf(event.path)}`,
        parent,
        startMs,
        attributes: { [names.operation]: isChat ? 'chat' : undefined, [names.path]: pathOf(event.path) },
        event,
      }),
    )
  }

  response(event: EventOf<'model.response'>, endMs: number, parent: Draft): void {
    const startMs = endMs - event.durationMs
    const path = pathOf(event.path)
    const same = this.open.filter((each) => each.attributes[names.path] === path)
    let draft = nearest(same, (each) => Math.abs(each.startMs - startMs))
    if (draft) this.open.splice(this.open.indexOf(draft), 1)
    else {
      this.request({ ...event, type: 'model.request', method: 'POST', first: false }, startMs, parent)
      draft = this.open.pop() as Draft
    }
    const failed = event.httpStatus < 200 || event.httpStatus >= 400
    const type = failed ? String(event.httpStatus) : undefined
    this.book.close(draft, event, endMs, { [names.httpStatus]: event.httpStatus, [names.errorType]: type })
    draft.failed = failed
    if (!failed && asksForAnswer(event.path)) this.answered.push(draft)
  }

  /** A message's words have begun to come. */
  words(messageId: string, atMs: number): void {
    if (!this.firstWords.has(messageId)) this.firstWords.set(messageId, atMs)
  }

  used(event: EventOf<'usage'>, atMs: number, parent: Draft): void {
    this.steps.push({ event, atMs, parent })
  }

  /** Puts to each request what it used. */
  settle(): void {
    const free = [...this.answered, ...this.open.filter(({ name }) => name === 'chat')]
    for (const step of this.steps) {
      const draft = this.requestOf(step, free)
      if (!draft) {
        this.unseen(step)
        continue
      }
      free.splice(free.indexOf(draft), 1)
      draft.parent = step.parent
      describe(draft, step.event, this.firstWords.get(step.event.messageId ?? ''))
    }
  }

  private requestOf({ event, atMs }: Step, free: Draft[]): Draft | undefined {
    const wordsMs = this.firstWords.get(event.messageId ?? '')
    const begun = free.filter(({ startMs }) => startMs <= atMs + clockSlackMs)
    const during = begun.filter(
      ({ startMs, endMs }) =>
        wordsMs !== undefined &&
        startMs <= wordsMs + clockSlackMs &&
        (endMs === null || endMs >= wordsMs - clockSlackMs),
    )
    return nearest(during.length > 0 ? during : begun, ({ endMs }) => Math.abs((endMs ?? atMs) - atMs))
  }

  /** An answer that no gateway saw: what is known is what the agent told. */
  private unseen({ event, atMs, parent }: Step): void {
    this.count += 1
    const startMs = this.firstWords.get(event.messageId ?? '') ?? atMs
    const attributes = { [names.operation]: 'chat' }
    const draft = this.book.open({
      key: `model ${this.count}`,
      kind: 'model',
      name: 'chat',
      parent,
      startMs,
      attributes,
      event,
    })
    this.book.close(draft, event, atMs)
    describe(draft, event, undefined)
  }
}

function describe(draft: Draft, event: EventOf<'usage'>, wordsMs: number | undefined): void {
  draft.name = `chat ${event.model}`
  draft.cursors.push(event.cursor)
  Object.assign(draft.attributes, usageAttributes(event.usage), {
    [names.model]: event.model,
    ...(event.messageId === undefined ? {} : { [names.responseId]: event.messageId }),
    ...(event.costUsd === undefined ? {} : { [names.cost]: event.costUsd }),
    ...(wordsMs === undefined ? {} : { [names.timeToFirstChunk]: Math.max(0, wordsMs - draft.startMs) / 1000 }),
  })
}

/** The convention counts what came from a cache as input; an agent's own count leaves it out. */
export function usageAttributes({
  inputTokens,
  outputTokens,
  cacheReadTokens,
  cacheWriteTokens,
}: Usage): Draft['attributes'] {
  return {
    [names.inputTokens]: inputTokens + cacheReadTokens + cacheWriteTokens,
    [names.outputTokens]: outputTokens,
    [names.cacheReadTokens]: cacheReadTokens,
    [names.cacheWriteTokens]: cacheWriteTokens,
  }
}

/** The event of a message's words, whichever kind they are. */
export function saysWords(event: Vm0Event): event is Vm0Event & { messageId: string } {
  return (
    event.type === 'message.delta' ||
    event.type === 'message' ||
    event.type === 'thinking.delta' ||
    event.type === 'thinking'
  )
}

function asksForAnswer(path: string): boolean {
  return /^\/v1\/messages(\?|$)/.test(path)
}

function pathOf(path: string): string {
  return path.split('?', 1)[0] as string
}

function nearest(drafts: readonly Draft[], distance: (draft: Draft) => number): Draft | undefined {
  let best: Draft | undefined
  for (const draft of drafts) if (!best || distance(draft) < distance(best)) best = draft
  return best
}
