import type { EventOf, Usage, Vm0Event } from '@vm0/contract'
import { names } from './names.js'
import type { Draft, SpanBook } from './span-book.js'

/** Stamps of the gateway and of the agent's output come from two processes; what differs by less may be one moment. */
const clockSlackMs = 20
/** An answer that ended so long before an output isn't where it came from. */
const staleMs = 600_000
/** Bounds the work where somebody sends requests without end. */
const maxCandidates = 1_000

interface Step {
  event: EventOf<'usage'>
  atMs: number
  /** When something of the answer came: its first words, or the first call that it made. */
  outputMs: number | undefined
  parent: Draft
}

/**
 * The requests to a model as the gateway saw them, each with what the agent told of its cost. The two have no id in common:
 * an answer belongs to the request during which its words came. What an agent tells of a sub-agent's answers may come late,
 * so that the time of the account alone says little.
 */
export class ModelRequests {
  private readonly open: Draft[] = []
  private readonly answered: Draft[] = []
  private readonly firstWords = new Map<string, number>()
  /** When the first output came that no account of the same agent has followed yet. */
  private readonly firstOutput = new Map<string | undefined, number>()
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

  /** Something of an answer has come: words of a message, or a tool call. */
  output(event: Vm0Event, atMs: number): void {
    if (saysWords(event) && !this.firstWords.has(event.messageId)) this.firstWords.set(event.messageId, atMs)
    if (!saysWords(event) && event.type !== 'tool.started') return
    if (!this.firstOutput.has(event.parentToolId)) this.firstOutput.set(event.parentToolId, atMs)
  }

  used(event: EventOf<'usage'>, atMs: number, parent: Draft): void {
    const outputMs = this.firstWords.get(event.messageId ?? '') ?? this.firstOutput.get(event.parentToolId)
    this.firstOutput.delete(event.parentToolId)
    this.steps.push({ event, atMs, outputMs, parent })
  }

  /** Puts to each request what it used. */
  settle(): void {
    const free = [...this.answered, ...this.open.filter(({ name }) => name === 'chat')]
    let from = 0
    for (const step of this.steps) {
      const earliestMs = Math.min(step.atMs, step.outputMs ?? step.atMs) - staleMs
      while (from < free.length && (free[from]?.endMs ?? Infinity) < earliestMs) from += 1
      const draft = this.requestOf(step, free.slice(from, from + maxCandidates))
      if (!draft) {
        this.unseen(step)
        continue
      }
      free.splice(free.indexOf(draft), 1)
      draft.parent = step.parent
      describe(draft, step.event, this.firstWords.get(step.event.messageId ?? ''))
    }
  }

  private requestOf({ atMs, outputMs = atMs }: Step, free: Draft[]): Draft | undefined {
    const begun = free.filter(({ startMs }) => startMs <= atMs + clockSlackMs)
    const outside = ({ startMs, endMs }: Draft): number =>
      Math.max(0, Math.max(startMs - outputMs, outputMs - (endMs ?? Infinity)) - clockSlackMs)
    const least = begun.reduce((min, draft) => Math.min(min, outside(draft)), Infinity)
    return nearest(
      begun.filter((draft) => outside(draft) === least),
      ({ endMs }) => Math.min(Math.abs((endMs ?? atMs) - atMs), Math.abs((endMs ?? atMs) - outputMs)),
    )
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

type Words = 'message.delta' | 'message' | 'thinking.delta' | 'thinking'

/** The event of a message's words, whichever kind they are. */
export function saysWords(event: Vm0Event): event is Extract<Vm0Event, { type: Words }> {
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
