import { Vm0Error } from '@vm0/contract'

/** Seconds since 1970 and nanoseconds after them, as the decimal number of a PAX header. */
export function paxTime(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds)
  const fraction = (part: number): string => String(part).padStart(9, '0').replace(/0+$/, '')
  if (seconds >= 0) return `${seconds}.${fraction(nanoseconds)}`
  const whole = -(seconds + 1)
  return `-${whole}.${fraction(1_000_000_000 - nanoseconds)}`
}

export function timeOf(text: string): { mtimeSeconds: number; mtimeNanoseconds: number } {
  const [, sign, whole, fraction = ''] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text) ?? []
  if (whole === undefined)
    throw new Vm0Error('ARCHIVE_INVALID', `the time ${JSON.stringify(text.slice(0, 40))} is no number of seconds`)
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (!sign) return { mtimeSeconds: Number(whole), mtimeNanoseconds: nanoseconds }
  if (nanoseconds === 0) return { mtimeSeconds: 0 - Number(whole), mtimeNanoseconds: 0 }
  return { mtimeSeconds: -Number(whole) - 1, mtimeNanoseconds: 1_000_000_000 - nanoseconds }
}
