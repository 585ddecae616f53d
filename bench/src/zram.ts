import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const control = '/sys/class/zram-control'

/** What the host swaps to, in MiB; 0 where it has none. */
export function swapMiB(): number {
  const lines = readFileSync('/proc/swaps', 'utf8').trim().split('\n').slice(1)
  return lines.reduce((sum, line) => sum + Number(line.split(/\s+/)[2]) / 1024, 0)
}

/** Compressed memory that this host swaps to until it is closed. */
export class Zram {
  private constructor(private readonly index: string) {}

  /** Undefined where the kernel makes none. */
  static open(mebibytes: number): Zram | undefined {
    if (!existsSync(`${control}/hot_add`)) return undefined
    const zram = new Zram(readFileSync(`${control}/hot_add`, 'utf8').trim())
    try {
      writeFileSync(`/sys/block/zram${zram.index}/disksize`, `${mebibytes}M`)
      execFileSync('mkswap', ['-q', zram.device])
      execFileSync('swapon', [zram.device])
      return zram
    } catch (error) {
      zram.close()
      throw error
    }
  }

  private get device(): string {
    return `/dev/zram${this.index}`
  }

  /** What it holds, and the memory that this takes, in bytes. */
  use(): { heldBytes: number; takenBytes: number } {
    const figures = readFileSync(`/sys/block/zram${this.index}/mm_stat`, 'utf8').trim().split(/\s+/).map(Number)
    return { heldBytes: figures[0] ?? 0, takenBytes: figures[2] ?? 0 }
  }

  close(): void {
    if (readFileSync('/proc/swaps', 'utf8').includes(this.device)) execFileSync('swapoff', [this.device])
    writeFileSync(`${control}/hot_remove`, this.index)
  }
}
