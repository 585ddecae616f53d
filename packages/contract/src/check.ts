/** One finding of `vm0 doctor`: what was looked at, what was found and, when something is wrong, what mends it. */
export interface Check {
  /** Stable name, such as `kernel` or `server`. */
  name: string
  status: 'ok' | 'warning' | 'problem'
  found: string
  fix?: string
}
