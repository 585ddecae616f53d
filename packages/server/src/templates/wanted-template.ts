/** A template as somebody asks for it: by its digest, or by a name and perhaps a version. */
export interface WantedTemplate {
  digest?: string
  name?: string
  version?: number
}

/** Undefined where the text can't name a template. */
export function parseTemplate(text: string): WantedTemplate | undefined {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return { digest: text }
  const [, name, version] = /^([a-z0-9][a-z0-9._-]{0,62})(?:@([1-9][0-9]{0,8}))?$/.exec(text) ?? []
  if (name === undefined) return undefined
  return version === undefined ? { name } : { name, version: Number(version) }
}
