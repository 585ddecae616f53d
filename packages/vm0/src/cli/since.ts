const units: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `90s`, `30m`, `12h`, `1d`, `2w` before now, or a time of its own. Throws SyntaxError. */
export function parseSince(text: string, nowMs = Date.now()): Date {
  const [, number, unit] = /^(\d{1,6}(?:\.\d+)?)([smhdw])$/.exec(text) ?? []
  const time = number && unit ? new Date(nowMs - Number(number) * (units[unit] as number)) : new Date(text)
  if (Number.isNaN(time.getTime()) || (number === undefined && !/^\d{4}-\d\d-\d\d/.test(text)))
    throw new SyntaxError(`${text} is no time; expected 30m, 12h, 1d, 2w, or a date such as 2026-01-31`)
  return time
}

/** For commands. */
export const since = {
  kind: 'parsed',
  parse: (text: string) => parseSince(text),
  optional: true,
  placeholder: 'TIME',
  brief: 'Only those since then: 30m, 12h, 1d, 2w, or a date',
} as const
