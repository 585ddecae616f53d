import { Vm0Error } from '@vm0/contract'

/** One instruction of a Dockerfile. */
export interface Instruction {
  /** In capitals. */
  name: string
  /** `--flag=value` at its beginning. */
  flags: ReadonlyMap<string, string>
  /** What follows, with the lines that were continued joined. */
  rest: string
  /** Where it begins, from 1. */
  line: number
}

export function invalid(line: number, message: string, hint?: string): Vm0Error {
  return new Vm0Error('DOCKERFILE_INVALID', `line ${line}: ${message}`, hint === undefined ? {} : { hint })
}

/** The instructions of a Dockerfile, in order. Throws DOCKERFILE_INVALID with the line. */
export function parseDockerfile(text: string): Instruction[] {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const found: Instruction[] = []
  for (let at = 0; at < lines.length; at++) {
    const first = lines[at] as string
    if (at === 0 && /^\s*#\s*escape\s*=\s*`/i.test(first))
      throw invalid(1, 'another escape character than the backslash is not served')
    if (isPassedOver(first)) continue
    const line = at + 1
    const parts: string[] = []
    for (; at < lines.length; at++) {
      const part = lines[at] as string
      // Comments and empty lines in the middle of a continued instruction are no part of it.
      if (parts.length > 0 && isPassedOver(part)) continue
      const continued = /\\[ \t]*$/.test(part)
      parts.push(continued ? part.replace(/\\[ \t]*$/, '') : part)
      if (!continued) break
    }
    found.push(instruction(parts.join('').trim(), line))
  }
  return found
}

const isPassedOver = (line: string): boolean => /^\s*(?:#.*)?$/.test(line)

function instruction(text: string, line: number): Instruction {
  const [, name = '', after = ''] = /^([A-Za-z]+)(?:\s+([\s\S]*))?$/.exec(text) ?? []
  if (!name) throw invalid(line, `${JSON.stringify(text.slice(0, 80))} is no instruction`)
  const flags = new Map<string, string>()
  let rest = after
  for (let flag = nextFlag(rest); flag; flag = nextFlag(rest)) {
    flags.set(flag[1] as string, flag[2] ?? '')
    rest = rest.slice(flag[0].length)
  }
  if (/<<-?\s*["']?[A-Za-z_]\w*/.test(rest) && /^(?:RUN|COPY|ADD)$/i.test(name))
    throw invalid(line, 'here-documents are not served; expected commands joined by && and \\')
  return { name: name.toUpperCase(), flags, rest, line }
}

const nextFlag = (text: string): RegExpExecArray | null => /^--([a-z-]+)(?:=(\S*))?(?:\s+|$)/.exec(text)
