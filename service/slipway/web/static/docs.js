// Shows openapi.json by Swagger UI, as a part of our page: in its colours, within its landmarks.

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

// Swagger UI's own layout brings another main landmark and heading.
const inOurPage = ({ React }) => ({
  components: {
    InOurPage: ({ getComponent, specSelectors }) => {
      const part = (name, connected = true) => React.createElement(getComponent(name, connected));
      const parts = specSelectors.specStr()
        ? [part("SvgAssets", false), part("errors"), part("AuthorizeBtnContainer"), part("operations")]
        : [part("errors")];
      return React.createElement("div", { className: "swagger-ui" }, ...parts);
    },
  },
});

const target = document.getElementById("swagger-ui");

// What Swagger UI leaves without a name that a screen reader could tell.
new MutationObserver(() => {
  for (const field of target.querySelectorAll("tr[data-param-name] :is(input, select, textarea)")) {
    field.setAttribute("aria-label", field.closest("tr").dataset.paramName);
  }
  for (const field of target.querySelectorAll(".opblock-section-request-body textarea")) {
    field.setAttribute("aria-label", "Request body");
  }
  target.querySelector(".close-modal")?.setAttribute("aria-label", "Close");
}).observe(target, { childList: true, subtree: true });

SwaggerUIBundle({
  url: target.dataset.document,
  domNode: target,
  layout: "InOurPage",
  plugins: [inOurPage],
  // Not the public validator: it would be told what this service is.
  validatorUrl: null,
});
