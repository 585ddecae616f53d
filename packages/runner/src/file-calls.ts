import type { FileEntry, SessionRef } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import * as files from './files.js'
import { compareFolder } from './folders/compare-folder.js'
import { FileDigests } from './folders/file-digests.js'
import { readEntries, removeEntries } from './folders/named-entries.js'
import { ArrivalWriters, listChunks, patchFile, readRanges } from './large-files/index.js'
import type { LiveSession } from './live-session.js'
import { readTree, writeTree } from './trees.js'

/** The part of the runner's port that reads and writes files: each call has the session for as long as it takes. */
export abstract class FileCalls {
  /** Of sandboxes that live. */
  private readonly digests = new WeakMap<Sandbox, FileDigests>()
  private readonly arrivals = new WeakMap<Sandbox, ArrivalWriters>()

  /** The session for a command or file operation, until it is released. */
  protected abstract take(ref: SessionRef): Promise<LiveSession>
  protected abstract release(session: LiveSession): void

  readFile(ref: SessionRef, path: string): Promise<AsyncIterable<Uint8Array>> {
    return this.reading(ref, (sandbox, release) => files.readFile(sandbox, path, release))
  }

  readTree(ref: SessionRef, path: string): Promise<AsyncIterable<Uint8Array>> {
    return this.reading(ref, (sandbox, release) => readTree(sandbox, path, release))
  }

  writeFile(ref: SessionRef, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    return this.using(ref, true, (sandbox) => files.writeFile(sandbox, path, content))
  }

  writeTree(ref: SessionRef, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    return this.using(ref, true, (sandbox) => writeTree(sandbox, path, content))
  }

  async *compareFolder(ref: SessionRef, folder: string, request: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
    const session = await this.take(ref)
    try {
      const { sandbox } = await session.ready()
      const digests = this.digests.get(sandbox) ?? new FileDigests()
      this.digests.set(sandbox, digests)
      yield* compareFolder({ sandbox, folder, digests }, request)
    } finally {
      this.release(session)
    }
  }

  async *listChunks(ref: SessionRef, path: string, request: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
    const session = await this.take(ref)
    try {
      yield* listChunks((await session.ready()).sandbox, path, request)
    } finally {
      this.release(session)
    }
  }

  readRanges(ref: SessionRef, path: string, request: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
    return this.reading(ref, (sandbox, release) => readRanges(sandbox, path, request, release))
  }

  patchFile(ref: SessionRef, path: string, request: AsyncIterable<Uint8Array>): Promise<void> {
    return this.using(ref, true, (sandbox) => {
      const writers = this.arrivals.get(sandbox) ?? new ArrivalWriters()
      this.arrivals.set(sandbox, writers)
      return patchFile(sandbox, path, request, writers)
    })
  }

  readEntries(ref: SessionRef, path: string, names: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
    return this.reading(ref, (sandbox, release) => readEntries(sandbox, path, names, release))
  }

  removeEntries(ref: SessionRef, path: string, names: AsyncIterable<Uint8Array>): Promise<void> {
    return this.using(ref, true, (sandbox) => removeEntries(sandbox, path, names))
  }

  listFiles(ref: SessionRef, path: string): Promise<FileEntry[]> {
    return this.using(ref, false, (sandbox) => files.listFiles(sandbox, path))
  }

  statFile(ref: SessionRef, path: string): Promise<FileEntry> {
    return this.using(ref, false, (sandbox) => files.statFile(sandbox, path))
  }

  removeFile(ref: SessionRef, path: string): Promise<void> {
    return this.using(ref, true, (sandbox) => files.removeFile(sandbox, path))
  }

  /** The session stays in use until `release` is called. */
  private async reading<T>(ref: SessionRef, open: (sandbox: Sandbox, release: () => void) => Promise<T>): Promise<T> {
    const session = await this.take(ref)
    let released = false
    const release = (): void => {
      if (!released) this.release(session)
      released = true
    }
    try {
      return await open((await session.ready()).sandbox, release)
    } catch (error) {
      release()
      throw error
    }
  }

  protected async using<T>(
    ref: SessionRef,
    writes: boolean,
    use: (sandbox: Sandbox, session: LiveSession) => Promise<T>,
  ): Promise<T> {
    const session = await this.take(ref)
    try {
      const { sandbox } = await session.ready()
      if (writes) session.dirty = true
      return await use(sandbox, session)
    } finally {
      this.release(session)
    }
  }
}
