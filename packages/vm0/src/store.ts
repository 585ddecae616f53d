import {
  Vm0Error,
  type EncryptionOutput,
  type EncryptionReport,
  type FsckOutput,
  type FsckRequest,
  type GcOutput,
  type GcReport,
  type GcRequest,
  type ResealReport,
  type StoreReport,
} from '@vm0/contract/client'
import { lineError, linesOf, type Http } from './http.js'

/**
 * How to check the store.
 *
 * @example
 * await vm0.store.fsck({ deep: true, signal: AbortSignal.timeout(600_000) })
 */
export interface FsckOptions extends FsckRequest {
  /** Is told how far it is. */
  onProgress?: (message: string) => void
  /** Aborting ends it with CANCELLED. */
  signal?: AbortSignal
}

/**
 * What to collect.
 *
 * @example
 * await vm0.store.gc({ graceMs: 24 * 3_600_000 })
 */
export interface GcOptions extends GcRequest {
  /** Aborting ends it with CANCELLED; what was removed by then is gone. */
  signal?: AbortSignal
}

/**
 * How to seal the store anew.
 *
 * @example
 * await vm0.store.reseal({ newKey: true, onProgress: console.log })
 */
export interface ResealOptions {
  /** Make another master key first: it seals from then on. */
  newKey?: boolean
  /** Is told how far it is. */
  onProgress?: (message: string) => void
  /** Aborting ends it with CANCELLED; what was resealed by then is. */
  signal?: AbortSignal
}

/**
 * The store behind all sessions, for a key with the scope `installation`.
 *
 * @example
 * const { problems } = await vm0.store.fsck({ deep: true })
 */
export class Store {
  /** @internal */
  constructor(private readonly http: Http) {}

  /**
   * Whether all is there that sessions and their checkpoints are made of; with `deep` every byte is read and compared with
   * its digest. Damage is in `problems`, each with what can't be restored because of it.
   *
   * @example
   * for (const { message, sessions } of (await vm0.store.fsck({ deep: true })).problems) console.log(message, sessions)
   */
  async fsck({ onProgress, signal, ...options }: FsckOptions = {}): Promise<StoreReport> {
    for await (const line of this.lines<FsckOutput>('/store/fsck', options, signal)) {
      if (line.type === 'progress') onProgress?.(line.message)
      else if (line.type === 'checked') return line.report
      else throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the store was checked')
  }

  /**
   * Removes what nothing refers to any more and that is older than the grace time (an hour by default). The server does so
   * by itself, once an hour.
   *
   * @example
   * const { removed, removedBytes } = await vm0.store.gc({ dryRun: true })
   */
  async gc({ signal, ...options }: GcOptions = {}): Promise<GcReport> {
    for await (const line of this.lines<GcOutput>('/store/gc', options, signal)) {
      if (line.type === 'collected') return line.report
      if (line.type === 'error') throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the store was collected')
  }

  /**
   * The master keys of the installation, the newest first, and how much is sealed under each. The keys themselves never
   * leave the server's host.
   *
   * @example
   * const { keys } = await vm0.store.encryption()
   * const sealsNow = keys.find(({ newest }) => newest)?.id
   */
  async encryption({ signal }: { signal?: AbortSignal } = {}): Promise<EncryptionReport> {
    for await (const line of this.lines<EncryptionOutput>('/store/encryption', {}, signal)) {
      if (line.type === 'keys') return line.report
      if (line.type === 'error') throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the store was looked at')
  }

  /**
   * Seals every layer, manifest, prompt and result under the newest master key; with `newKey` one is made first. May be
   * broken off and called again. What could not be opened is in `problems`.
   *
   * @example
   * const { key, objects, problems } = await vm0.store.reseal({ newKey: true })
   */
  async reseal({ onProgress, signal, ...options }: ResealOptions = {}): Promise<ResealReport> {
    for await (const line of this.lines<EncryptionOutput>('/store/encryption/reseal', options, signal)) {
      if (line.type === 'progress') onProgress?.(line.message)
      else if (line.type === 'resealed') return line.report
      else if (line.type === 'error') throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before everything was resealed')
  }

  /**
   * Forgets an older master key. Rejects with ENCRYPTION_KEY_IN_USE while anything is sealed under it.
   *
   * @example
   * const { keys } = await vm0.store.encryption()
   * const unused = keys.filter((key) => !key.newest && key.objects + key.rows + key.sandboxes === 0)
   * for (const { id } of unused) await vm0.store.dropKey(id)
   */
  async dropKey(id: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    for await (const line of this.lines<EncryptionOutput>('/store/encryption/drop', { id }, signal)) {
      if (line.type === 'dropped') return
      if (line.type === 'error') throw lineError(line)
    }
    throw new Vm0Error('SERVER_UNREACHABLE', 'the answer ended before the key was dropped')
  }

  private async *lines<T>(path: string, json: object, signal: AbortSignal | undefined): AsyncGenerator<T, void> {
    yield* linesOf<T>(await this.http.request(path, { method: 'POST', json, signal, patient: true }), signal)
  }
}
