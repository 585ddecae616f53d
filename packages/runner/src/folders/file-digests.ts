import type { Sandbox } from '@vm0/sandbox'
import type { FoundEntry } from './found-entry.js'
import { KnownFolder } from './known-folder.js'
import { DigestReading } from './read-digests.js'

/** Of a sandbox; the ones that were asked for last. */
const maxFolders = 4

/** Digests of what is in one sandbox, kept as long as it lives, so that what has not changed is read once. */
export class FileDigests {
  private readonly folders = new Map<string, KnownFolder>()

  /** What is known of a folder from before. */
  folder(folder: string): KnownFolder {
    const known = this.folders.get(folder) ?? new KnownFolder()
    this.folders.delete(folder)
    this.folders.set(folder, known)
    for (const oldest of this.folders.keys()) if (this.folders.size > maxFolders) this.folders.delete(oldest)
    return known
  }

  /** Those that could be read, with their digests. */
  async of(sandbox: Sandbox, folder: string, entries: readonly FoundEntry[]): Promise<readonly FoundEntry[]> {
    const reading = new DigestReading(sandbox, folder)
    for (const entry of entries) if (entry.digest === '') reading.add(entry)
    const failed = await reading.end()
    return failed.size > 0 ? entries.filter((entry) => !failed.has(entry)) : entries
  }
}
