import type { CheckpointDiff, DiffEntry } from '@vm0/contract/client'
import type { Http } from './http.js'

/**
 * What of a comparison is asked for.
 *
 * @example
 * const checkpoint = await session.checkpoints.latest()
 * const { items } = await checkpoint.diff(undefined, { path: '/workspace/src', patch: true })
 */
export interface DiffOptions {
  /** This file, or this folder with what is below it. Default /workspace. */
  path?: string
  /** Everything that the session holds: the agent's own state, installed software. */
  all?: boolean
  /** With a unified diff of each text file, in `patch`. */
  patch?: boolean
  /** Aborting ends it with CANCELLED. */
  signal?: AbortSignal
}

/**
 * What a checkpoint has that another one has not, or has otherwise.
 *
 * @example
 * const checkpoint = await session.checkpoints.latest()
 * const { items, against, elsewhere } = await checkpoint.diff()
 */
export interface DiffResult {
  /** Folders before what is in them, names in the order of their bytes. */
  items: DiffEntry[]
  /** The checkpoint that it was compared with; null: the template. */
  against: string | null
  /** Files outside of the path that differ, at most 10,000 of them are counted. */
  elsewhere: number
}

/**
 * A comparison of two checkpoints: `await` it for all of it, or go through it as it comes when there may be much.
 *
 * @example
 * const checkpoint = await session.checkpoints.latest()
 * for await (const { change, path } of checkpoint.diff()) console.log(change, path)
 */
export class Diff implements AsyncIterable<DiffEntry>, PromiseLike<DiffResult> {
  /** @internal */
  constructor(
    private readonly http: Http,
    private readonly checkpoint: string,
    private readonly other: string | undefined,
    private readonly options: DiffOptions,
  ) {}

  /**
   * The entries one by one; pages are asked for as they are needed.
   *
   * @example
   * const checkpoint = await session.checkpoints.latest()
   * for await (const { path, patch } of checkpoint.diff(undefined, { patch: true })) console.log(path, patch)
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<DiffEntry, void> {
    for await (const { items } of this.pages()) yield* items
  }

  /**
   * Makes it awaitable.
   *
   * @example
   * const checkpoint = await session.checkpoints.latest()
   * const { items } = await checkpoint.diff()
   */
  // oxlint-disable-next-line unicorn/no-thenable -- one call for both ways to read it
  then<A = DiffResult, B = never>(
    done?: ((result: DiffResult) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.collect().then(done, failed)
  }

  /**
   * The pages as the server gives them.
   *
   * @internal
   */
  async *pages(): AsyncGenerator<CheckpointDiff, void> {
    const { path, all, patch, signal } = this.options
    const query = new URLSearchParams({ path: path ?? (all ? '/' : '/workspace') })
    if (this.other !== undefined) query.set('against', this.other)
    if (patch) query.set('patch', 'true')
    for (;;) {
      const page = await this.http.json<CheckpointDiff>(`/checkpoints/${this.checkpoint}/diff?${query}`, { signal })
      yield page
      if (page.next === null) return
      query.set('after', page.next)
      // What is compared stays the same, whatever becomes of the session meanwhile.
      if (page.against !== null) query.set('against', page.against)
    }
  }

  private async collect(): Promise<DiffResult> {
    const result: DiffResult = { items: [], against: null, elsewhere: 0 }
    for await (const { items, against, elsewhere } of this.pages()) {
      result.items.push(...items)
      result.against = against
      result.elsewhere = elsewhere ?? result.elsewhere
    }
    return result
  }
}
