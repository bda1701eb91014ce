// sigstore-js as a program: `node sigstore.cjs`, with what is to be done as JSON on standard input.
// The library signs with no keys of one's own; its Signer interface takes them, as below.
const crypto = require("node:crypto");
const fs = require("node:fs");
const { bundleFromJSON, bundleToJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { DSSEBundleBuilder, FulcioSigner, MessageSignatureBundleBuilder, RekorWitness, TSAWitness } =
  require("@sigstore/sign");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

const HINT = "interop";

function signer(asked) {
  if (!asked.key) {
    return new FulcioSigner({ fulcioBaseURL: asked.ca, identityProvider: { getToken: async () => asked.token } });
  }
  const key = crypto.createPrivateKey(fs.readFileSync(asked.key));
  const publicKey = crypto.createPublicKey(key).export({ type: "spki", format: "pem" });
  return {
    sign: async (data) => ({
      signature: crypto.sign("sha256", data, key), key: { $case: "publicKey", hint: HINT, publicKey } }),
  };
}

async function sign(asked) {
  const witnesses = [];
  if (asked.log) witnesses.push(new RekorWitness({ rekorBaseURL: asked.log, majorApiVersion: 2 }));
  if (asked.tsa) witnesses.push(new TSAWitness({ tsaBaseURL: asked.tsa }));
  const data = fs.readFileSync(asked.file);
  const bundle = asked.type
    ? await new DSSEBundleBuilder({ signer: signer(asked), witnesses }).create({ data, type: asked.type })
    : await new MessageSignatureBundleBuilder({ signer: signer(asked), witnesses }).create({ data });
  fs.writeFileSync(asked.bundle, JSON.stringify(bundleToJSON(bundle)));
}

function verify(asked) {
  const root = TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(asked.root)));
  const key = asked.key && { publicKey: crypto.createPublicKey(fs.readFileSync(asked.key)), validFor: () => true };
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(asked.bundle)));
  const threshold = asked.log ? 1 : 0;
  const verifier = new Verifier(toTrustMaterial(root, () => key), {
    tlogThreshold: threshold, timestampThreshold: asked.key ? 0 : 1 });
  const escaped = (asked.identity || "").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const data = fs.readFileSync(asked.file);
  verifier.verify(toSignedEntity(bundle, data), asked.key ? undefined : {
    subjectAlternativeName: `^${escaped}$`, extensions: { issuer: asked.issuer } });
  if (bundle.content.$case === "dsseEnvelope") { // the library leaves it to who calls it what a statement is about
    const digest = crypto.createHash("sha256").update(data).digest("hex");
    const { subject } = JSON.parse(bundle.content.dsseEnvelope.payload.toString());
    if (!subject.some((each) => each.digest.sha256 === digest)) throw new Error("statement: about another file");
  }
}

async function main() {
  const asked = JSON.parse(fs.readFileSync(0));
  await (asked.verb === "sign" ? sign : verify)(asked);
}

main().catch((error) => {
  console.error(`${error.message}${error.cause ? `: ${error.cause.message}` : ""}`);
  process.exit(1);
});
