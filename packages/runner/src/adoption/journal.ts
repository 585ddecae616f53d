import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { JournalEntry } from '@vm0/contract'

export const journalFile = (records: string): string => join(records, 'journal.ndjson')

/**
 * What a runner did with one sandbox. An entry is in the kernel's hands when `add` returns, which is what a process that is
 * killed leaves; a host that loses its power loses the sandbox too.
 */
export class Journal {
  private fd: number | undefined

  private readonly path: string

  constructor(records: string) {
    this.path = journalFile(records)
    this.fd = openSync(this.path, 'a', 0o600)
  }

  /** A journal that can't be written, as on a full disk, is given up: the sandbox works on, and isn't adopted. */
  add(entry: JournalEntry): void {
    if (this.fd === undefined) return
    const line = Buffer.from(`${JSON.stringify(entry)}\n`)
    try {
      if (writeSync(this.fd, line) === line.length) return
    } catch {
      /* told by its absence */
    }
    this.close()
    rmSync(this.path, { force: true })
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd)
    this.fd = undefined
  }
}
