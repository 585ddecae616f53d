import { join } from 'node:path'
import type { Details, Gauge, Meter, Pressure } from './cgroup.js'
import { cpusOf, field } from './control-files.js'
import { OpenFiles, readOnce } from './open-files.js'

/** Of what is in use: how much of it the kernel can't take back, from where on tasks that meet `high` gain nothing. */
const heldShare = 0.9

/** The counters of a group of version 2. */
export class MeterV2 implements Meter {
  private readonly files = new OpenFiles()
  private highSeen = 0

  constructor(private readonly directory: string) {}

  gauge(): Gauge {
    const events = this.files.text(this.file('memory.events'))
    const memoryBytes = this.files.number(this.file('memory.current'))
    const high = field(events, 'high')
    const met = high > this.highSeen
    this.highSeen = high
    return {
      memoryBytes,
      cpuMs: field(this.files.text(this.file('cpu.stat')), 'usage_usec') / 1e3,
      oomKills: field(events, 'oom_kill'),
      atLimit: met && this.isHeld(memoryBytes),
    }
  }

  /** `high` is met whenever the page cache has grown to it as well: that is given back, and nobody waits. */
  private isHeld(memoryBytes: number): boolean {
    const limit = this.files.number(this.file('memory.high'))
    const stat = readOnce(this.file('memory.stat'))
    const kept = ['anon', 'shmem', 'kernel_stack', 'pagetables', 'slab_unreclaimable', 'unevictable']
    return (
      limit > 0 &&
      memoryBytes >= limit * heldShare &&
      kept.reduce((sum, name) => sum + field(stat, name), 0) >= limit * heldShare
    )
  }

  details(): Details {
    const number = (name: string): number => Number(readOnce(this.file(name))) || 0
    const stat = readOnce(this.file('memory.stat'))
    const cpu = readOnce(this.file('cpu.stat'))
    const [quota, period] = readOnce(this.file('cpu.max')).split(' ')
    return {
      limitBytes: number('memory.max'),
      peakBytes: Math.max(number('memory.peak'), number('memory.current')),
      anonBytes: field(stat, 'anon'),
      fileBytes: field(stat, 'file') - field(stat, 'shmem'),
      shmemBytes: field(stat, 'shmem'),
      kernelBytes: field(stat, 'kernel'),
      processes: number('pids.current'),
      processLimit: number('pids.max'),
      forksRefused: field(readOnce(this.file('pids.events')), 'max'),
      throttledMs: field(cpu, 'throttled_usec') / 1e3,
      periods: field(cpu, 'nr_periods'),
      throttledPeriods: field(cpu, 'nr_throttled'),
      cpus: cpusOf(Number(quota), Number(period)),
      pressure: {
        memory: pressureIn(readOnce(this.file('memory.pressure'))),
        cpu: pressureIn(readOnce(this.file('cpu.pressure'))),
        io: pressureIn(readOnce(this.file('io.pressure'))),
      },
    }
  }

  processIds(): number[] {
    return this.files.text(this.file('cgroup.procs')).split('\n').filter(Boolean).map(Number)
  }

  close(): void {
    this.files.close()
  }

  private file(name: string): string {
    return join(this.directory, name)
  }
}

export function pressureIn(text: string): Pressure {
  const of = (kind: string): number => Number(new RegExp(`^${kind} avg10=([\\d.]+)`, 'm').exec(text)?.[1] ?? 0)
  return { some: of('some'), full: of('full') }
}
