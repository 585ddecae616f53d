/** What stands in the place of a secret. */
export const redacted = '[redacted]'

/** Shorter values (`1`, `true`, `eu`) occur in any text: taking them out would hide nothing and spoil it. */
const minValueChars = 6
const maxValues = 1_000

/** What secrets look like, whoever they belong to. Each is bounded, so that no text makes it slow. */
const patterns: readonly RegExp[] = [
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,10000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?/g,
  /\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,200}/g,
  /\bvm0t?_[A-Za-z0-9_-]{16,200}/g,
  /\bgh[pousr]_[A-Za-z0-9]{20,255}\b|\bgithub_pat_[A-Za-z0-9_]{20,255}\b/g,
  /\bglpat-[A-Za-z0-9_-]{16,100}/g,
  /\bnpm_[A-Za-z0-9]{30,100}\b/g,
  /\bxox[abeprs]-[A-Za-z0-9-]{10,200}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bAIza[A-Za-z0-9_-]{30,60}/g,
  /\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{0,2000}/g,
]

/** What follows is secret, what comes before it stays. */
const named: readonly RegExp[] = [
  /((?:authorization|proxy-authorization)["']?\s{0,3}[:=]\s{0,3}["']?(?:bearer|basic|token)\s{1,3})[^\s"',;]{4,4000}/gi,
  /(\b[A-Za-z0-9_.-]{0,40}(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token)["']?\s{0,3}[:=]\s{0,3}["']?)[^\s"',;&]{4,4000}/gi,
  /(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@"']{0,200}:)[^\s@/"']{1,400}(?=@)/gi,
]

/**
 * Takes secrets out of texts: the given values, as they are and as they stand in JSON, URLs and base64; and what looks like
 * a secret by itself. Doing it twice changes nothing more.
 */
export function redactor(values: Iterable<string>): (text: string) => string {
  const forms = new Set<string>()
  for (const value of [...values].slice(0, maxValues)) {
    if (value.length < minValueChars) continue
    for (const form of [value, JSON.stringify(value).slice(1, -1), encoded(value), base64(value), ...linesOf(value)])
      if (form.length >= minValueChars) forms.add(form)
  }
  // The longest first: a value may be a part of another.
  const known = [...forms].toSorted((a, b) => b.length - a.length)
  return (text) => {
    let clean = text
    for (const form of known) if (clean.includes(form)) clean = clean.replaceAll(form, redacted)
    for (const pattern of patterns) clean = clean.replace(pattern, redacted)
    for (const pattern of named) clean = clean.replace(pattern, `$1${redacted}`)
    return clean
  }
}

function encoded(value: string): string {
  try {
    return encodeURIComponent(value)
  } catch {
    return value // half a surrogate pair has no such form
  }
}

/** Without its last characters, which depend on what follows. */
function base64(value: string): string {
  return Buffer.from(value, 'utf8').toString('base64').replace(/=*$/, '').slice(0, -1)
}

/** A key of several lines is shown line by line, with whatever in front of it. */
function linesOf(value: string): string[] {
  return value.includes('\n') ? value.split('\n').filter((line) => line.trim().length >= 16) : []
}
