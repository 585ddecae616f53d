/**
 * How far a transfer is.
 *
 * @example
 * await session.files.upload('.', '/workspace', { onProgress: ({ bytes, totalBytes }) => console.log(bytes, totalBytes) })
 */
export interface TransferProgress {
  /** Files and links that have arrived, of `totalFiles` that have to. */
  files: number
  totalFiles: number
  /** Of their contents. */
  bytes: number
  totalBytes: number
  /** Contents that are alike on both sides and don't move. */
  savedBytes: number
}

interface Sized {
  kind: 'file' | 'folder' | 'link'
  sizeBytes: number
}

interface PackProgress {
  restart(): void
  moved(bytes: number): void
  /** So much of it turns out to be on the other side. */
  spared(bytes: number): void
  done(): void
}

/** Counts what moves, in packs: one that is sent again after a break counts once. */
export class Progress {
  private readonly state: TransferProgress

  constructor(
    moving: readonly Sized[],
    savedBytes: number,
    private readonly tell: ((progress: TransferProgress) => void) | undefined,
  ) {
    this.state = {
      files: 0,
      totalFiles: moving.filter(({ kind }) => kind !== 'folder').length,
      bytes: 0,
      totalBytes: bytesOf(moving),
      savedBytes,
    }
    this.report()
  }

  pack(entries: readonly Sized[]): PackProgress {
    let most = bytesOf(entries)
    let counted = 0
    const count = (bytes: number): void => {
      // An archive is larger than what is in it.
      const now = Math.min(most, bytes)
      this.state.bytes += now - counted
      counted = now
      this.report()
    }
    let raw = 0
    return {
      restart: () => {
        raw = 0
        count(0)
      },
      moved: (bytes) => {
        raw += bytes
        count(raw)
      },
      spared: (bytes) => {
        most -= bytes
        this.state.totalBytes -= bytes
        this.state.savedBytes += bytes
        count(raw)
      },
      done: () => {
        this.state.files += entries.filter(({ kind }) => kind !== 'folder').length
        count(most)
      },
    }
  }

  private report(): void {
    this.tell?.({ ...this.state })
  }
}

export const bytesOf = (entries: readonly Sized[]): number => entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
