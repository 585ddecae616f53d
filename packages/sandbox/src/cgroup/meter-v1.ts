import type { Details, Gauge, Meter } from './cgroup.js'
import { cpusOf, field } from './control-files.js'
import { OpenFiles, readOnce } from './open-files.js'

/** The counters of a group of version 1, where each controller has a folder of its own. */
export class MeterV1 implements Meter {
  private readonly files = new OpenFiles()

  constructor(private readonly file: (controller: string, name: string) => string) {}

  gauge(): Gauge {
    const oom = this.files.text(this.file('memory', 'memory.oom_control'))
    return {
      memoryBytes: this.files.number(this.file('memory', 'memory.usage_in_bytes')),
      cpuMs: this.files.number(this.file('cpuacct', 'cpuacct.usage')) / 1e6,
      oomKills: field(oom, 'oom_kill'),
      atLimit: field(oom, 'under_oom') === 1,
    }
  }

  details(): Details {
    const number = (controller: string, name: string): number => Number(readOnce(this.file(controller, name))) || 0
    const stat = readOnce(this.file('memory', 'memory.stat'))
    const cpu = readOnce(this.file('cpu', 'cpu.stat'))
    return {
      limitBytes: number('memory', 'memory.limit_in_bytes'),
      peakBytes: number('memory', 'memory.max_usage_in_bytes'),
      anonBytes: field(stat, 'total_rss'),
      fileBytes: field(stat, 'total_cache') - field(stat, 'total_shmem'),
      shmemBytes: field(stat, 'total_shmem'),
      kernelBytes: number('memory', 'memory.kmem.usage_in_bytes'),
      processes: number('pids', 'pids.current'),
      processLimit: number('pids', 'pids.max'),
      forksRefused: field(readOnce(this.file('pids', 'pids.events')), 'max'),
      throttledMs: field(cpu, 'throttled_time') / 1e6,
      periods: field(cpu, 'nr_periods'),
      throttledPeriods: field(cpu, 'nr_throttled'),
      cpus: cpusOf(number('cpu', 'cpu.cfs_quota_us'), number('cpu', 'cpu.cfs_period_us')),
      pressure: null,
    }
  }

  processIds(): number[] {
    // Opened anew: version 1 makes the list once for each open file.
    return readOnce(this.file('memory', 'cgroup.procs')).split('\n').filter(Boolean).map(Number)
  }

  close(): void {
    this.files.close()
  }
}
