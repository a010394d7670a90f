// Writes a program that sends the picture on the page, read from a file, and gets the same answer.

const TYPE = "application/octet-stream";

const quote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`; // for a POSIX shell

const WRITERS = {
  curl({ url, name, needsKey }) {
    const lines = [
      `curl ${quote(url)}`,
      ...(needsKey ? ['-H "Authorization: Bearer $DIGITS_KEY"'] : []),
      `-H 'Content-Type: ${TYPE}'`,
      `--data-binary ${quote(`@${name}`)}`,
    ];
    return lines.join(" \\\n  ");
  },

  javascript({ url, name, member, needsKey }) {
    const key = needsKey ? '\n    "Authorization": `Bearer ${process.env.DIGITS_KEY}`,' : "";
    return `import { openAsBlob } from "node:fs";

const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "${TYPE}",${key}
  },
  body: await openAsBlob(${JSON.stringify(name)}),
});
const answer = await response.json();
console.log(answer.${member}, answer.confidence);`;
  },

  python({ url, name, member, needsKey }) {
    const key = needsKey ? '\n        "Authorization": f"Bearer {os.environ[\'DIGITS_KEY\']}",' : "";
    const modules = ["json", ...(needsKey ? ["os"] : []), "pathlib", "urllib.request"];
    return `${modules.map((module) => `import ${module}`).join("\n")}

request = urllib.request.Request(
    ${JSON.stringify(url)},
    headers={
        "Content-Type": "${TYPE}",${key}
    },
    data=pathlib.Path(${JSON.stringify(name)}).read_bytes(),
)
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
print(answer["${member}"], answer["confidence"])`;
  },
};

/** Return a program that sends the file `name` to `url` and prints `member` of the answer. */
export const writeProgram = (language, { url, name, member, needsKey }) => WRITERS[language]({ url, name, member, needsKey });
