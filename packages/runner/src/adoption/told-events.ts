import type { LiveAgent } from '../live-agent.js'

/** Where in an agent's output an event comes from: line 12 of stdout (`o`) or stderr (`e`) of a process, its second event. */
const originForm = /^(.+):([oe])(\d+)\.(\d+)$/

interface Place {
  line: number
  index: number
}

/** Gives each event of an agent's output its origin, and knows which of them the log has. */
export class ToldEvents {
  private readonly logged = new Map<string, Place>()
  private current = ''
  private index = 0

  /** The log has an event of this origin. The last one counts: a log is written in the order of the output. */
  add(origin: string): void {
    const [, process, stream, line, index] = originForm.exec(origin) ?? []
    if (process) this.logged.set(`${process}:${stream}`, { line: Number(line), index: Number(index) })
  }

  /** The origin of the next event of the line that was read last; undefined: the log has the event. */
  next({ process, lines }: LiveAgent, from: 'stdout' | 'stderr' | 'end'): string | undefined {
    const source = `${process.id}:${from === 'stderr' ? 'e' : 'o'}`
    const line = from === 'stderr' ? lines.err : lines.out + (from === 'end' ? 1 : 0)
    const place = `${source}${line}`
    this.index = place === this.current ? this.index + 1 : 0
    this.current = place
    const last = this.logged.get(source)
    const has = last !== undefined && (line < last.line || (line === last.line && this.index <= last.index))
    return has ? undefined : `${place}.${this.index}`
  }
}
