import type { OutputLine } from '@vm0/sandbox'

/** An agent's output with the number of lines that were taken of each stream. */
export class CountedLines implements AsyncIterator<OutputLine> {
  out = 0
  err = 0

  constructor(private readonly lines: AsyncIterator<OutputLine>) {}

  async next(): Promise<IteratorResult<OutputLine>> {
    const next = await this.lines.next()
    if (!next.done) this[next.value.stream === 'stdout' ? 'out' : 'err'] += 1
    return next
  }
}
