import { spanIdOf, type Span, type Vm0Event } from '@vm0/contract'

export type Attributes = Span['attributes']
/** What may be unknown is left out. */
export type MaybeAttributes = Record<string, Attributes[string] | undefined | null>

export interface Draft {
  /** Names the span within its run; its id follows from both. */
  key: string
  kind: Span['kind']
  name: string
  parent: Draft | undefined
  startMs: number
  endMs: number | null
  failed: boolean
  attributes: Attributes
  events: Span['events']
  cursors: string[]
}

export interface NewSpan extends Pick<Draft, 'key' | 'kind' | 'name' | 'parent' | 'startMs'> {
  attributes?: MaybeAttributes
  event: Vm0Event
}

/** The spans of a run while its events are read. A span's parent is in the book before it, so they always form a tree. */
export class SpanBook {
  private readonly drafts = new Map<string, Draft>()
  private baseMs: number | undefined
  lastMs = 0

  constructor(private readonly runId: string) {}

  /** When an event happened, since the run's first; a clock that was set back counts as standing still. */
  timeOf(event: Vm0Event): number {
    const ms = Date.parse(event.time)
    this.baseMs ??= ms
    const sinceStart = Math.max(0, ms - this.baseMs)
    this.lastMs = Math.max(this.lastMs, sinceStart)
    return sinceStart
  }

  /** The same of a time that is told in an event. */
  timeAt(time: string): number {
    const ms = Date.parse(time)
    return Math.max(0, ms - (this.baseMs ?? ms))
  }

  open({ key, kind, name, parent, startMs, attributes = {}, event }: NewSpan): Draft {
    const draft: Draft = {
      key: this.drafts.has(key) ? `${key} ${event.cursor}` : key,
      kind,
      name,
      parent,
      startMs: Math.round(Math.max(0, startMs) * 10) / 10,
      endMs: null,
      failed: false,
      attributes: known(attributes),
      events: [],
      cursors: [event.cursor],
    }
    this.drafts.set(draft.key, draft)
    return draft
  }

  close(draft: Draft, event: Vm0Event, endMs: number, attributes: MaybeAttributes = {}): void {
    draft.endMs = Math.max(draft.startMs, endMs)
    if (draft.cursors.at(-1) !== event.cursor) draft.cursors.push(event.cursor)
    Object.assign(draft.attributes, known(attributes))
  }

  /** Ends what is open and will not go on. */
  cutOff(event: Vm0Event, atMs: number, attributes: MaybeAttributes, but: readonly Draft[]): void {
    for (const draft of this.drafts.values()) {
      if (draft.endMs !== null || but.includes(draft)) continue
      draft.failed = true
      this.close(draft, event, atMs, attributes)
    }
  }

  note(draft: Draft, name: string, atMs: number, attributes: MaybeAttributes = {}): void {
    draft.events.push({ name, atMs, attributes: known(attributes) })
  }

  /** Depth first, each level in the order of its beginnings. */
  spans(runEnded: boolean): Span[] {
    const children = new Map<Draft | undefined, Draft[]>()
    for (const draft of this.drafts.values()) {
      const siblings = children.get(draft.parent) ?? []
      siblings.push(draft)
      children.set(draft.parent, siblings)
    }
    const spans: Span[] = []
    const rest = byStart(children.get(undefined) ?? []).toReversed()
    for (let draft = rest.pop(); draft; draft = rest.pop()) {
      spans.push(this.span(draft, runEnded))
      rest.push(...byStart(children.get(draft) ?? []).toReversed())
    }
    return spans
  }

  private span(draft: Draft, runEnded: boolean): Span {
    const { kind, name, parent, startMs, endMs, failed, attributes, events, cursors } = draft
    return {
      id: this.idOf(draft),
      parentId: parent ? this.idOf(parent) : null,
      kind,
      name,
      startMs,
      durationMs: endMs === null ? null : Math.round((endMs - startMs) * 10) / 10,
      status: failed ? 'error' : endMs === null ? 'open' : 'ok',
      attributes: endMs === null && runEnded ? { ...attributes, 'vm0.end.inferred': true } : attributes,
      events,
      cursors,
    }
  }

  private idOf({ key }: Draft): string {
    return spanIdOf(this.runId, key)
  }
}

function byStart(drafts: Draft[]): Draft[] {
  return drafts.toSorted((a, b) => a.startMs - b.startMs)
}

function known(attributes: MaybeAttributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).filter(
      (entry): entry is [string, Attributes[string]] => entry[1] !== undefined && entry[1] !== null,
    ),
  )
}
