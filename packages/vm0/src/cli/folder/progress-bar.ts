import type { TransferProgress } from '../../transfer/sync/progress.js'

const barWidth = 24
const everyMs = 80

/** A line on a terminal that tells how far a transfer is, and goes when it is done; nothing in a pipe. */
export class ProgressBar {
  private shownMs = 0
  private isShown = false

  constructor(private readonly stream: NodeJS.WriteStream) {}

  show = (progress: TransferProgress): void => {
    const nowMs = performance.now()
    if (!this.stream.isTTY || progress.totalFiles === 0 || nowMs - this.shownMs < everyMs) return
    this.shownMs = nowMs
    this.isShown = true
    this.stream.write(`\r\u001B[K${progressLine(progress)}`)
  }

  clear(): void {
    if (this.isShown) this.stream.write('\r\u001B[K')
    this.isShown = false
  }
}

export function progressLine({ files, totalFiles, bytes, totalBytes, savedBytes }: TransferProgress): string {
  const share = totalBytes > 0 ? bytes / totalBytes : files / totalFiles
  const filled = Math.round(share * barWidth)
  const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`
  const saved = savedBytes > 0 ? `   ${size(savedBytes)} saved` : ''
  return `${bar} ${files}/${totalFiles} files   ${size(bytes)}/${size(totalBytes)}${saved}`
}

/** As people read it: 1.2 MB. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  let value = bytes
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
