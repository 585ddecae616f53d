export interface ErrorEntry {
  /** HTTP status of the problem document. */
  status: number
  /** Exit status of the `vm0` command. */
  exit: number
  retryable: boolean
  hint: string
}
