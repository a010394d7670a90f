// Writes a program that sends the picture on the page, ready to run, and gets the same answer.

const MAX_INLINE_BYTES = 16_384; // bytes of a picture that a program can contain; larger ones are read from a file

const quote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`; // for a POSIX shell

const mediaType = (data) => (data ? "application/json" : "application/octet-stream");

const WRITERS = {
  curl({ url, data, name, needsKey }) {
    const lines = [
      `curl ${quote(url)}`,
      ...(needsKey ? ['-H "Authorization: Bearer $DIGITS_KEY"'] : []),
      `-H 'Content-Type: ${mediaType(data)}'`,
      data ? `-d '{"image": "${data}"}'` : `--data-binary ${quote(`@${name}`)}`,
    ];
    return lines.join(" \\\n  ");
  },

  javascript({ url, data, name, member, needsKey }) {
    const key = needsKey ? '\n    "Authorization": `Bearer ${process.env.DIGITS_KEY}`,' : "";
    const body = data ? `JSON.stringify({ image: "${data}" })` : `await openAsBlob(${JSON.stringify(name)})`;
    const imports = data ? "" : 'import { openAsBlob } from "node:fs";\n\n';
    return `${imports}const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "${mediaType(data)}",${key}
  },
  body: ${body},
});
const answer = await response.json();
console.log(answer.${member}, answer.confidence);`;
  },

  python({ url, data, name, member, needsKey }) {
    const key = needsKey ? '\n        "Authorization": f"Bearer {os.environ[\'DIGITS_KEY\']}",' : "";
    const body = data
      ? `json.dumps({"image": "${data}"}).encode()`
      : `pathlib.Path(${JSON.stringify(name)}).read_bytes()`;
    const modules = ["json", ...(needsKey ? ["os"] : []), ...(data ? [] : ["pathlib"]), "urllib.request"];
    return `${modules.map((module) => `import ${module}`).join("\n")}

request = urllib.request.Request(
    ${JSON.stringify(url)},
    headers={
        "Content-Type": "${mediaType(data)}",${key}
    },
    data=${body},
)
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
print(answer["${member}"], answer["confidence"])`;
  },
};

/** Return a program that requests `url` and prints `member` of the answer, and whether the program reads a picture file. */
export async function writeProgram(language, { url, blob, name, member, needsKey }) {
  const data = blob && blob.size <= MAX_INLINE_BYTES ? await encodeBase64(blob) : null;
  return { text: WRITERS[language]({ url, data, name, member, needsKey }), fromFile: !data };
}

async function encodeBase64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
