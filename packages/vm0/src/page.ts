/**
 * A page of a list, the newest first.
 *
 * @example
 * const { items, next } = await vm0.sessions.list({ limit: 20 })
 */
export interface Page<T> {
  items: T[]
  /** What `before` takes to get the next page; null at the end. */
  next: string | null
}
