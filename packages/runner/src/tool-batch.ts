import type { EventBody } from '@vm0/contract'

type ToolKind = Extract<EventBody, { type: 'tool.started' }>['kind']

export interface BatchedCall {
  id: string
  name: string
  /** What it did, in a few words. */
  title: string
}

const maxCalls = 1000
const maxTitle = 200
/** How long the agent's output may lag behind its model request. */
const lagMs = 1_000
/** Kinds of tools that leave files alone. */
const reading: ReadonlySet<ToolKind> = new Set(['read', 'search', 'fetch', 'plan'])

/** The agent's own tool calls since the last checkpoint; those of its sub-agents belong to the call that began them. */
export class ToolBatch {
  private readonly calls = new Map<string, BatchedCall & { kind: ToolKind; finished: boolean }>()
  private readonly ofSubAgents = new Set<string>()
  private readonly written = new Set<string>()
  private readonly waiting = new Set<() => void>()

  observe(event: EventBody): void {
    if (event.type === 'tool.started') {
      const { toolId: id, name, title, kind, parentToolId } = event
      if (parentToolId === undefined)
        keep(this.calls, id, { id, name, title: title.slice(0, maxTitle), kind, finished: false })
      else this.remember(this.ofSubAgents, id)
    } else if (event.type === 'tool.finished') {
      const call = this.calls.get(event.toolId)
      if (call) call.finished = true
    } else return
    this.wake()
  }

  recorded(ids: readonly string[]): void {
    for (const id of ids) this.remember(this.written, id)
    this.wake()
  }

  /**
   * Whether these results are those of the agent itself, told of, and in its record of the conversation: waits a moment for
   * what its output is behind.
   */
  async settled(ids: readonly string[]): Promise<boolean> {
    const late = AbortSignal.timeout(lagMs)
    for (;;) {
      if (ids.some((id) => this.ofSubAgents.has(id))) return false
      if (ids.every((id) => this.calls.get(id)?.finished && this.written.has(id))) return true
      if (late.aborted) return false
      await this.change(late)
    }
  }

  get mayHaveChangedFiles(): boolean {
    return [...this.calls.values()].some(({ kind }) => !reading.has(kind))
  }

  /** The calls that are done, from the first to the last: they belong to the checkpoint that is made now. */
  take(): BatchedCall[] {
    const done = [...this.calls.values()].filter(({ finished }) => finished)
    for (const { id } of done) {
      this.calls.delete(id)
      this.written.delete(id)
    }
    return done.map(({ id, name, title }) => ({ id, name, title }))
  }

  private change(late: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.waiting.delete(done)
        late.removeEventListener('abort', done)
        resolve()
      }
      this.waiting.add(done)
      late.addEventListener('abort', done)
    })
  }

  private wake(): void {
    for (const done of this.waiting) done()
  }

  private remember(ids: Set<string>, id: string): void {
    ids.add(id)
    if (ids.size > maxCalls) ids.delete(ids.values().next().value as string)
  }
}

function keep<T>(calls: Map<string, T>, id: string, call: T): void {
  calls.set(id, call)
  if (calls.size > maxCalls) calls.delete(calls.keys().next().value as string)
}
