import { readFileSync } from 'node:fs'

export interface HostMemory {
  totalBytes: number
  /** What programs can have without harm to others, the page cache that the kernel can drop included. */
  availableBytes: number
}

/** Undefined where the kernel doesn't tell it. */
export function hostMemory(): HostMemory | undefined {
  // The kernel answers from memory within microseconds: a thread's round trip would cost more.
  return memoryIn(readFileSync('/proc/meminfo', 'latin1'))
}

/** Of the text of /proc/meminfo. */
export function memoryIn(text: string): HostMemory | undefined {
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024
  const memory = { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') }
  return memory.totalBytes > 0 && memory.availableBytes >= 0 ? memory : undefined
}
