import {
  Vm0Error,
  type FsckOutput,
  type FsckRequest,
  type GcOutput,
  type GcReport,
  type GcRequest,
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

  private async *lines<T>(path: string, json: object, signal: AbortSignal | undefined): AsyncGenerator<T, void> {
    yield* linesOf<T>(await this.http.request(path, { method: 'POST', json, signal, patient: true }), signal)
  }
}
