export type SendResult = 'taken' | 'refused' | 'unreachable'
export type DropReason = 'buffer_full' | Exclude<SendResult, 'taken'>

export interface ExportQueueOptions<T> {
  /** What waits at most: so many items, of so many bytes in all. */
  maxItems: number
  maxBytes: number
  /** What is sent at a time, at most. */
  batchItems: number
  /** So long after its first item a batch is sent, full or not. */
  delayMs: number
  sizeOf(item: T): number
  /** Hands a batch to the collector; never waits for ever. A rejection counts as refused. */
  send(batch: T[]): Promise<SendResult>
  onExported(count: number): void
  onDropped(reason: DropReason, count: number): void
}

/**
 * What waits to be exported. Whoever adds never waits: what has no room is dropped and counted. One batch is on its way at a
 * time, so a collector that hangs holds that one and what fits into the buffer.
 */
export class ExportQueue<T> {
  private readonly waiting: T[] = []
  private bytes = 0
  private timer: NodeJS.Timeout | undefined
  private sending: Promise<void> | undefined
  private closed = false

  constructor(private readonly options: ExportQueueOptions<T>) {}

  add(item: T): void {
    const { maxItems, maxBytes, batchItems, delayMs, sizeOf, onDropped } = this.options
    const size = sizeOf(item)
    if (this.closed || this.waiting.length >= maxItems || this.bytes + size > maxBytes)
      return onDropped('buffer_full', 1)
    this.waiting.push(item)
    this.bytes += size
    if (this.waiting.length >= batchItems) this.begin()
    else this.timer ??= setTimeout(() => this.begin(), delayMs).unref()
  }

  /** Sends what waits, for so long at most; what is left then is dropped. */
  async close(patienceMs: number): Promise<void> {
    this.closed = true
    this.begin()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, patienceMs)))
    await Promise.race([this.sending ?? Promise.resolve(), late])
    clearTimeout(timer)
    const left = this.waiting.splice(0).length
    if (left > 0) this.options.onDropped('unreachable', left)
  }

  private begin(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    if (this.waiting.length === 0) return
    this.sending ??= this.drain().finally(() => (this.sending = undefined))
  }

  private async drain(): Promise<void> {
    const { batchItems, sizeOf, send, onExported, onDropped } = this.options
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, batchItems)
      for (const item of batch) this.bytes -= sizeOf(item)
      const result = await send(batch).catch((): SendResult => 'refused')
      if (result === 'taken') onExported(batch.length)
      else onDropped(result, batch.length)
    }
  }
}
